"""A small shop on Hazelcast that stays open when its cluster dies.

Read it in this order: ``catalogue`` (stock that is never sold twice), ``carts`` (what a visitor reads when the data
stayed on another cluster), ``alerts`` (what the person on call reads), ``metrics`` (what the graphs show), ``routes``
(the pages). The rest runs the demo: ``launcher`` starts two clusters and the shop, ``control`` and ``demo_buttons`` let
a visitor kill the clusters, ``demo`` kills one under load.

``make run`` starts it all. On clusters of your own::

    export FLASK_SECRET_KEY=... FLASK_HAZELCAST_FAILOVER_CLUSTERS="hazelcast://blue@10.0.0.1:5701 hazelcast://..."
    flask --app example_app run
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask

from example_app import alerts, demo_buttons, metrics, routes
from example_app.extensions import ext

__all__ = ["create_app"]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the shop. It connects at the first page that needs data.

    ``config`` overrides ``FLASK_*`` environment variables. Raises ``RuntimeError`` without a ``SECRET_KEY``,
    and what ``HazelcastFailover.init_app`` raises for a bad ``HAZELCAST_FAILOVER_*`` key.
    """
    _set_up_logging()
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    if not app.config["SECRET_KEY"]:
        raise RuntimeError(
            "SECRET_KEY is missing: it signs the visitors' cookies and has to be the same in every process. "
            "Set FLASK_SECRET_KEY to a long random text."
        )
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    ext.init_app(app)
    alerts.subscribe(app)
    metrics.init_app(app)
    app.register_blueprint(routes.shop)
    demo_buttons.init_app(app)
    return app


def _set_up_logging() -> None:
    # Does nothing if the program that runs the app has set up logging.
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s [%(process)d] %(levelname)-7s %(name)s: %(message)s"
    )
    # An official client that loses its cluster logs every member and retry; flask_hazelcast_failover logs one line for
    # what that means.
    logging.getLogger("hazelcast").setLevel(logging.ERROR)
