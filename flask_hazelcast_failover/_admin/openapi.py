"""The OpenAPI document of the JSON routes, with the names of the clusters and processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DOCUMENT = Path(__file__).with_name("openapi.json")


def describe(status: Mapping[str, Any]) -> dict[str, Any]:
    """The document; the names that a ``POST`` may use come from the status."""
    document: dict[str, Any] = json.loads(_DOCUMENT.read_text())
    schemas = document["components"]["schemas"]
    labels = [cluster["label"] for cluster in status["clusters"]]
    workers = [worker["id"] for worker in status["fleet"]["workers"]]
    schemas["SwitchTo"]["properties"]["cluster"]["enum"] = labels
    if workers:
        for body in ("Reset", "SwitchTo"):
            schemas[body]["properties"]["workers"]["items"]["enum"] = workers
    return document
