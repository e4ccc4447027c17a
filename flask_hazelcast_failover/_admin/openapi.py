"""The OpenAPI document of the JSON routes, with the names of the clusters and processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DOCUMENT = Path(__file__).with_name("openapi.json")


def describe(status: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The document; the names that a ``POST`` may use come from the status.

    :param url: what the routes' paths are below, as the client sees it
    """
    document: dict[str, Any] = json.loads(_DOCUMENT.read_text())
    document["servers"] = [{"url": url}]
    schemas = document["components"]["schemas"]
    labels = [cluster["label"] for cluster in status["clusters"]]
    workers = [worker["id"] for worker in status["fleet"]["workers"]]
    schemas["SwitchTo"]["properties"]["cluster"]["enum"] = labels
    if workers:
        for body in ("Reset", "SwitchTo"):
            schemas[body]["properties"]["workers"]["items"]["enum"] = workers
    return document
