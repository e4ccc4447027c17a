"""The app that `serving.serve` has gunicorn serve."""

from __future__ import annotations

import os

from flask import Flask

from flask_hazelcast_failover import HazelcastFailover

ext = HazelcastFailover()


def create_app() -> Flask:
    """Return an app configured by the environment."""
    app = Flask("shop")
    app.config.from_prefixed_env()
    ext.init_app(app)

    @app.get("/pid")
    def pid() -> str:
        return str(os.getpid())

    @app.get("/visits")
    def visits() -> dict[str, object]:
        counter = ext.client.get_map("visits").blocking()
        return {"visits": counter.get("total")}  # type: ignore[func-returns-value]

    return app
