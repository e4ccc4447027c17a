"""The app that `serving.serve` has gunicorn serve."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from flask import Flask

from flask_hazelcast_failover import ClientOfflineException, HazelcastFailover

ext = HazelcastFailover()


def create_app(trusted_hosts: list[str] | None = None, **options: Any) -> Flask:
    """Return an app configured by the environment; `options` are Flask's."""
    app = Flask("shop", static_folder=None, **options)
    app.config.from_prefixed_env()
    app.config["TRUSTED_HOSTS"] = trusted_hosts
    ext.init_app(app)

    @app.get("/visit", host="<host>")  # which counts with host matching only
    def visit(**_: str) -> str:
        """Use the client, whether or not a cluster can be reached, and return the id of the process."""
        visits: Any = ext.client.get_map("visits").blocking()
        with suppress(ClientOfflineException):
            visits.get("total")
        return str(os.getpid())

    return app
