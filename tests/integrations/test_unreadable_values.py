"""A value that the serializer cannot load, as after it was changed, is absent for every method of HazelcastCache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from cachelib.serializers import BaseSerializer, JSONSerializer, RedisSerializer
from flask import session
from flask_caching import Cache
from flask_session import Session  # type: ignore[import-untyped]

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import client_of, make_app
from tests.support.clients import client_on

MAP = "unreadable-tests"


class Broken:
    """Stores anything; what it has stored cannot be loaded."""

    def __init__(self, stored: bytes = b"old", error: Exception | None = None) -> None:
        self._stored = stored
        self._error = error or ValueError("of another release")

    def dumps(self, value: object) -> bytes:
        return self._stored

    def loads(self, stored: bytes) -> Any:
        raise self._error


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[HazelcastClient]:
    with client_on(shared_clusters[0]) as client:
        yield client


UNREADABLE = {
    "json": (Broken(b"old"), None),
    "cut": (Broken(b'{"~tuple":[1,'), None),
    "empty": (Broken(b""), None),
    "raising": (Broken(), Broken(error=RecursionError())),
    "pickle": (Broken(b"no pickle"), BaseSerializer()),
    "cachelib-json": (Broken(b"no json"), JSONSerializer()),
    "redis": (Broken(b"!no pickle"), RedisSerializer()),
}


@pytest.fixture(params=UNREADABLE)
def cache(request: pytest.FixtureRequest, client: HazelcastClient) -> HazelcastCache:
    """A cache in which the value of "key" cannot be read."""
    before, after = UNREADABLE[request.param]
    cache = HazelcastCache(client, MAP, key_prefix=uuid4().hex, serializer=before)
    assert cache.set_many({"key": "value", "number": 5}) == ["key", "number"]
    cache.serializer = after or HazelcastCache.serializer
    return cache


def test_it_is_absent_for_every_question(cache: HazelcastCache) -> None:
    """And so says what deletes it."""
    assert cache.get("key") is None
    assert cache.get_many("key", "number") == [None, 5]
    assert cache.get_dict("key") == {"key": None}
    assert cache.has("key") is False and cache.has("number") is True
    assert cache.delete("key") is False
    assert cache.delete_many("key") == ["key"]


def test_an_addition_replaces_it(cache: HazelcastCache) -> None:
    """As if there were nothing."""
    assert cache.add("key", 7) is True
    assert cache.add("key", 8) is False
    assert cache.get("key") == 7 and cache.has("key")


def test_counting_begins_at_zero(cache: HazelcastCache) -> None:
    """Up and down."""
    assert cache.inc("key", 2) == 2
    assert cache.get("key") == 2
    cache.delete("key")
    assert cache.dec("number", 2) == 3


def test_of_many_additions_one_replaces_it(cache: HazelcastCache) -> None:
    """All at the same time."""
    together = threading.Barrier(16)

    def add(number: int) -> bool:
        together.wait(10)
        return cache.add("key", number)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(add, range(16)))
    assert results.count(True) == 1
    assert cache.get("key") == results.index(True)


@pytest.mark.parametrize("serializer", [None, BaseSerializer(), JSONSerializer(), RedisSerializer()])
def test_a_stored_none_is_a_value(client: HazelcastClient, serializer: Any) -> None:
    """With any serializer, also one that gives None for what it cannot read."""
    cache = HazelcastCache(client, MAP, key_prefix=uuid4().hex, serializer=serializer)
    assert cache.set("key", None)
    assert cache.get("key") is None
    assert cache.has("key") is True and cache.add("key", 1) is False
    assert cache.delete("key") is True


def test_a_page_that_caches_none_is_made_again(blue: LocalCluster) -> None:
    """Flask-Caching asks whether there is a value that is None."""
    app = make_app(blue)
    backend = f"{HazelcastCache.__module__}.HazelcastCache"
    app.config.update(CACHE_TYPE=backend, CACHE_KEY_PREFIX=uuid4().hex)
    cache = Cache(app)
    made = []

    @app.get("/page")
    @cache.cached(timeout=60, key_prefix="page", cache_none=True)
    def page() -> str:
        made.append(1)
        return "made"

    @cache.memoize(timeout=60, cache_none=True)
    def result() -> None:
        made.append(1)

    with client_of(app):
        (stored_in,) = app.extensions["cache"].values()
        stored_in.serializer = Broken()
        app.test_client().get("/page")
        stored_in.serializer = HazelcastCache.serializer
        answers = [app.test_client().get("/page") for _ in range(2)]
        assert [(answer.status_code, answer.text) for answer in answers] == [(200, "made")] * 2
        assert len(made) == 2
        with app.app_context():
            assert result() is result() is None
            assert len(made) == 3
            assert cache.clear()


def test_a_session_that_cannot_be_read_is_a_new_one(blue: LocalCluster) -> None:
    """And the visitor can sign in again."""
    app = make_app(blue)
    with client_of(app) as client:
        sessions = HazelcastCache(client, MAP, key_prefix=uuid4().hex, when_offline="raise")
        app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=sessions)
        Session(app)

        @app.get("/")
        def who() -> dict[str, Any]:
            return {"user": session.get("user")}

        @app.post("/")
        def sign_in() -> str:
            session["user"] = "ada"
            return ""

        visitor = app.test_client()
        sessions.serializer = Broken()
        assert visitor.post("/").status_code == 200
        sessions.serializer = HazelcastCache.serializer
        assert visitor.get("/").get_json() == {"user": None}
        assert visitor.post("/").status_code == 200
        assert visitor.get("/").get_json() == {"user": "ada"}
        assert sessions.clear()
