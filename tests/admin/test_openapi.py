"""The JSON routes conform to the OpenAPI document: schemathesis checks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth

import flask_hazelcast_failover._admin
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN, client_of, make_app

DOCUMENT = json.loads((Path(flask_hazelcast_failover._admin.__file__).parent / "openapi.json").read_text())
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
ROUTES = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


@pytest.fixture
def api(blue: LocalCluster, green: LocalCluster) -> Iterator[Any]:
    flask_app = make_app(blue, green, ADMIN_TOKEN=TOKEN)
    with client_of(flask_app) as client:
        client.start()
        yield schemathesis.openapi.from_wsgi("/hazelcast/openapi.json", flask_app, headers=SIGNED_IN)


@pytest.mark.parametrize(("path", "method"), ROUTES)
def test_a_route_answers_as_the_document_says(api: Any, path: str, method: str) -> None:
    @given(case=api[path][method.upper()].as_strategy())
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        # Without its check of wrong credentials: it sends more of them than are answered with 401.
        case.call_and_validate(headers=SIGNED_IN, excluded_checks=[ignored_auth])

    answers()


@pytest.mark.parametrize("path", [path for path, method in ROUTES if "health" not in path])
def test_without_sign_in_the_answer_is_a_problem_document(api: Any, path: str) -> None:
    method = next(iter(DOCUMENT["paths"][path]))
    case = api[path][method.upper()].Case()
    case.headers = None
    answer = case.call()
    assert answer.status_code == 401
    assert answer.headers["content-type"][0] == "application/problem+json"


def test_the_document_is_served_with_the_clusters(blue: LocalCluster) -> None:
    http = make_app(blue, ADMIN_TOKEN=TOKEN).test_client()
    assert http.get("/hazelcast/openapi.json").status_code == 401
    served = http.get("/hazelcast/openapi.json", headers=SIGNED_IN).get_json()
    assert served["paths"] == DOCUMENT["paths"]
    assert served["components"]["schemas"]["SwitchTo"]["properties"]["cluster"]["enum"] == ["blue"]
