"""An app that uses its client while it is imported, which `gunicorn --preload` does before it forks."""

from __future__ import annotations

import os
from typing import Any

from tests.support.served_app import create_app, ext

app = create_app()
with app.app_context():
    preloaded: Any = ext.client.get_map("preloaded").blocking()
    preloaded.set("by", os.getpid())


@app.get("/read")
def read() -> dict[str, Any]:
    """Return the process that answers, the value it reads, the cluster and the epoch."""
    value = preloaded.get("by")
    status = ext.client.status()
    return {"pid": os.getpid(), "value": value, "on": status.current_cluster, "epoch": status.epoch}
