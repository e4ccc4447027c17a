"""Flask-Limiter on Hazelcast, in real apps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask_limiter import Limiter

import examples.with_flask_limiter as example
from flask_hazelcast_failover import HazelcastClient, HazelcastFailover
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN, absent, client_of, make_app, url_of


@contextmanager
def limited(*clusters: LocalCluster | str, visitor: str, **options: Any) -> Iterator[Flask]:
    ext = HazelcastFailover()
    app = make_app(*clusters, ext=ext, ADMIN_TOKEN=TOKEN)
    storage = {"storage_uri": "hazelcast+failover://flask-limiter-tests", "storage_options": {"client": ext}}
    limiter = Limiter(lambda: visitor, app=app, default_limits=["2 per minute"], **(storage | options))
    app.add_url_rule("/", "page", lambda: "page")
    assert limiter.enabled
    with client_of(app):
        yield app


def statuses(app: Flask, times: int, path: str = "/", **headers: str) -> list[int]:
    return [app.test_client().get(path, headers=headers).status_code for _ in range(times)]


def test_two_apps_share_a_limit(blue: LocalCluster) -> None:
    visitor = uuid4().hex
    with limited(blue, visitor=visitor) as first, limited(blue, visitor=visitor) as second:
        assert [*statuses(first, 1), *statuses(second, 2), *statuses(first, 1)] == [200, 200, 429, 429]


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_a_limit_works_after_a_switch(blue: LocalCluster, green: LocalCluster, strategy: str) -> None:
    with limited(blue, green, visitor=uuid4().hex, strategy=strategy) as app:
        assert statuses(app, 3) == [200, 200, 429]
        with app.app_context():
            client: HazelcastClient = app.extensions["hazelcast_failover"].client
            client.switch_to("green")
        assert statuses(app, 3) == [200, 200, 429]


def test_without_a_cluster_a_limited_page_is_503() -> None:
    with limited(absent("blue"), visitor="me") as app:
        answer = app.test_client().get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


def test_without_a_cluster_flask_limiter_can_fall_back() -> None:
    with limited(absent("blue"), visitor="me", swallow_errors=True) as app:
        assert statuses(app, 3) == [200] * 3
    with limited(absent("blue"), visitor="me", in_memory_fallback_enabled=True) as app:
        assert statuses(app, 3) == [200, 200, 429]


@pytest.mark.parametrize("options", [{}, {"in_memory_fallback_enabled": True}])
def test_without_a_cluster_admin_routes_are_not_limited(options: Any) -> None:
    with limited(absent("blue"), visitor="me", **options) as app:
        statuses(app, 3)
        assert statuses(app, 3, "/hazelcast/health") == [503] * 3
        assert statuses(app, 3, "/hazelcast/health/live") == [200] * 3
        for path in ("/hazelcast/", "/hazelcast/status"):
            assert statuses(app, 3, path, Authorization=f"Bearer {TOKEN}") == [200] * 3


def test_probes_are_not_limited(blue: LocalCluster) -> None:
    with limited(blue, visitor=uuid4().hex) as app:
        assert statuses(app, 4, "/hazelcast/health/live") == [200] * 4
        assert statuses(app, 3) == [200, 200, 429]


def test_the_example_limits(blue: LocalCluster) -> None:
    app = example.create_app({"HAZELCAST_FAILOVER_CLUSTERS": url_of(blue)})
    with client_of(app):
        assert statuses(app, 6) == [200] * 5 + [429]
        with app.app_context():
            example.limiter.reset()
