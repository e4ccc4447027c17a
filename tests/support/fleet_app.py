"""An app for gunicorn, which takes its settings from the environment."""

import json
import os
import threading
from pathlib import Path
from typing import Any

from flask import Flask

from flask_hazelcast_failover import HazelcastFailover, signals

ext = HazelcastFailover()
_lock = threading.Lock()


def create_app() -> Flask:
    """An app that uses its client for each visit, and writes its events to a file."""
    app = Flask("shop")
    app.config.from_prefixed_env()
    ext.init_app(app)

    @app.get("/visits")
    def visits() -> dict[str, Any]:
        ext.client.get_map("fleet-app-visits").blocking().size()
        return {"worker": ext.client.status().worker}

    def write(name: str, event: Any) -> None:
        line = {"event": name, "pid": os.getpid(), **{key: str(getattr(event, key)) for key in vars(event)}}
        with _lock, Path(os.environ["EVENTS"]).open("a") as events:
            events.write(json.dumps(line) + "\n")

    for name in ("cluster_switched", "fleet_split"):
        signal = getattr(signals, name)
        signal.connect(lambda _, event, name=name: write(name, event), sender=app, weak=False)
    return app
