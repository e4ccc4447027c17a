"""The app that `serving.serve` has gunicorn serve."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from flask import Flask

from flask_hazelcast_failover import ClientOfflineException, HazelcastFailover

ext = HazelcastFailover()


def create_app() -> Flask:
    """Return an app configured by the environment."""
    app = Flask("shop")
    app.config.from_prefixed_env()
    ext.init_app(app)

    @app.get("/visit")
    def visit() -> str:
        """Use the client, whether or not a cluster can be reached, and return the id of the process."""
        visits: Any = ext.client.get_map("visits").blocking()
        with suppress(ClientOfflineException):
            visits.get("total")
        return str(os.getpid())

    return app
