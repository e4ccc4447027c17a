"""Flask-Limiter on Hazelcast: all processes of the app share one limit.

    export FLASK_HAZELCAST_FAILOVER_CLUSTERS="hazelcast://blue@10.0.0.1:5701 hazelcast://green@10.0.1.1:5701"
    flask --app examples.with_flask_limiter run

While no cluster can be reached, each process keeps limits of its own.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

import flask_hazelcast_failover.integrations.limits  # noqa: F401 - registers its scheme with limits
from flask_hazelcast_failover import HazelcastFailover

ext = HazelcastFailover()
limiter = Limiter(
    get_remote_address,
    storage_uri="hazelcast+failover://",
    strategy="sliding-window-counter",
    in_memory_fallback_enabled=True,
)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    ext.init_app(app)
    limiter.init_app(app)

    @app.get("/")
    @limiter.limit("5 per minute")
    def guarded() -> dict[str, bool]:
        return {"welcome": True}

    return app
