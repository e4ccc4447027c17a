"""Requests to the admin routes, and checks of their answers."""

import base64
import json
from typing import Any

from werkzeug.test import TestResponse

from tests.support.apps import TOKEN

BEARER = {"Authorization": f"Bearer {TOKEN}"}
ACTIONS = ["/hazelcast/reset", "/hazelcast/switch"]
STEERING = ["/hazelcast/status", *ACTIONS]
HEALTH = ["/hazelcast/health", "/hazelcast/health/live"]
EVERY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def assert_problem(response: TestResponse, status: int) -> dict[str, Any]:
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    assert response.headers["Cache-Control"] == "no-store"
    problem: dict[str, Any] = json.loads(response.text)
    assert problem["status"] == status and problem["title"] and problem["detail"] and problem["type"]
    return problem
