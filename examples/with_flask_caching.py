"""Flask-Caching on Hazelcast: a slow page is made once a minute, and cached on the current cluster.

export FLASK_HAZELCAST_FAILOVER_CLUSTERS="hazelcast://blue@10.0.0.1:5701 hazelcast://green@10.0.1.1:5701"
flask --app examples.with_flask_caching run
"""

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from flask import Flask
from flask_caching import Cache

from flask_hazelcast_failover import HazelcastFailover

ext = HazelcastFailover()
cache = Cache()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config["CACHE_TYPE"] = "flask_hazelcast_failover.integrations.cachelib.HazelcastCache"
    app.config["CACHE_KEY_PREFIX"] = "example"
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    ext.init_app(app)
    cache.init_app(app)

    @app.get("/")
    @cache.cached(timeout=60)
    def report() -> dict[str, str]:
        time.sleep(0.2)
        return {"made": datetime.now(timezone.utc).isoformat()}

    return app
