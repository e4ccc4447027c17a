"""Flask-Session on Hazelcast: a visitor stays signed in after a switch if the clusters share data.

    export FLASK_HAZELCAST_FAILOVER_CLUSTERS="hazelcast://blue@10.0.0.1:5701 hazelcast://green@10.0.1.1:5701"
    flask --app examples.with_flask_session run

If they do not, a switch begins a new session. While no cluster can be reached, visitors with a session get 503 with
Retry-After, and stay signed in: with when_offline="miss" one such request would give them a new session id for good.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask, session
from flask_session import Session  # type: ignore[import-untyped]

from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache

ext = HazelcastFailover()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config["SESSION_TYPE"] = "cachelib"
    app.config["SESSION_CACHELIB"] = HazelcastCache(ext, map_name="sessions", when_offline="raise")
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    ext.init_app(app)
    Session(app)

    @app.post("/sign-in/<name>")
    def sign_in(name: str) -> dict[str, str]:
        session["user"] = name
        return {"user": name}

    @app.get("/")
    def who() -> dict[str, str | None]:
        return {"user": session.get("user")}

    return app
