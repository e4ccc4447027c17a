"""Flask-Caching on Hazelcast, in real apps."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response, abort, jsonify, make_response, redirect
from flask.typing import ResponseReturnValue
from flask_caching import Cache

from examples.with_flask_caching import create_app
from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, make_app, url_of

CACHE_TYPE = "flask_hazelcast_failover.integrations.cachelib.HazelcastCache"


class Shop:
    """An app whose pages are cached, with the renderings counted."""

    def __init__(self, *clusters: LocalCluster | str, **config: Any) -> None:
        self.app = make_app(*clusters)
        self.app.config.update({"CACHE_TYPE": CACHE_TYPE, "CACHE_KEY_PREFIX": uuid4().hex} | config)
        self.cache = Cache(self.app)
        self.rendered: list[str] = []

    def page(self, path: str, answer: Any) -> None:
        def view() -> ResponseReturnValue:
            self.rendered.append(path)
            return answer()  # type: ignore[no-any-return]

        self.app.add_url_rule(path, path, self.cache.cached(timeout=60)(view))

    def get(self, path: str) -> Any:
        return self.app.test_client().get(path)


@pytest.fixture
def shop(blue: LocalCluster) -> Iterator[Shop]:
    shop = Shop(blue)
    with client_of(shop.app):
        yield shop


def missing() -> ResponseReturnValue:
    abort(404, "no such thing")


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (lambda: "text", 200),
        (lambda: {"json": [1]}, 200),
        (lambda: ("made", 201, {"X-Kind": "tuple"}), 201),
        (lambda: jsonify(a=1), 200),
        (lambda: redirect("/elsewhere"), 302),
        (lambda: make_response(b"\x00\xff", 200, {"Content-Type": "image/x", "X-Two": "1"}), 200),
        (missing, 404),
    ],
)
def test_a_page_is_rendered_once(shop: Shop, answer: Any, status: int) -> None:
    """Later answers are the same."""
    shop.page("/page", answer)
    first, second = shop.get("/page"), shop.get("/page")
    assert (first.status_code, second.status_code) == (status, status)
    assert (first.data, list(first.headers)) == (second.data, list(second.headers))
    assert shop.rendered == ["/page"]


def test_a_page_that_cannot_be_stored_is_rendered_each_time(shop: Shop) -> None:
    shop.page("/stream", lambda: Response(iter(["a", "b"])))
    assert [shop.get("/stream").text for _ in range(2)] == ["ab", "ab"]
    assert shop.rendered == ["/stream"] * 2


def test_results_are_memoized(shop: Shop) -> None:
    calls = []

    @shop.cache.memoize(timeout=60)
    def total(*amounts: int) -> tuple[int, ...]:
        calls.append(amounts)
        return (*amounts, sum(amounts))

    with shop.app.test_request_context():
        assert total(1, 2) == total(1, 2) == (1, 2, 3)
        assert calls == [(1, 2)]
        shop.cache.delete_memoized(total)
        assert total(1, 2) == (1, 2, 3)
        assert len(calls) == 2


def test_key_prefixes_separate_apps_in_one_map(blue: LocalCluster) -> None:
    first, second = Shop(blue, CACHE_KEY_PREFIX="a"), Shop(blue, CACHE_KEY_PREFIX="ab")
    for shop in (first, second):
        with client_of(shop.app), shop.app.app_context():
            assert shop.cache.get("key") is None
            assert shop.cache.set("key", shop.app.config["CACHE_KEY_PREFIX"])
    third = Shop(blue, CACHE_KEY_PREFIX="a")
    with client_of(third.app), third.app.app_context():
        assert third.cache.get("key") == "a"
        assert third.cache.clear()


def test_options_reach_the_cache(blue: LocalCluster) -> None:
    shop = Shop(blue, CACHE_OPTIONS={"map_name": "cache-options-tests", "key_prefix": "given"})
    with client_of(shop.app) as client, shop.app.app_context():
        shop.cache.set("key", 1)
        entries: Any = client.get_map("cache-options-tests").blocking()
        assert [at for at in entries.key_set() if at.endswith("givenkey")]
        entries.destroy()


@pytest.mark.parametrize("make", [HazelcastCache, HazelcastCache.factory])
def test_flask_caching_can_create_the_cache_in_every_way(make: Any, blue: LocalCluster) -> None:
    shop = make_app(blue)
    config = {"CACHE_KEY_PREFIX": uuid4().hex}
    cache = make(shop, config, [], {"default_timeout": 60, "ignore_delete_many_errors": False})
    assert isinstance(cache, HazelcastCache)
    assert (cache.default_timeout, cache.ignore_delete_many_errors) == (60, False)
    with client_of(shop):
        assert cache.set("key", 1)  # outside an app context
        assert cache.get("key") == 1
        other = make(shop, config, [], {"map_name": "cache", "key_prefix": config["CACHE_KEY_PREFIX"] + "x"})
        assert other.get("key") is None
        assert cache.clear()


class OwnCache(HazelcastCache):
    """A subclass in a module of another name."""


def test_a_subclass_takes_its_options_too(blue: LocalCluster) -> None:
    shop = Shop(blue, CACHE_TYPE=f"{__name__}.OwnCache", CACHE_OPTIONS={"map_name": "own-cache-tests"})
    with client_of(shop.app) as client, shop.app.app_context():
        assert shop.cache.set("key", 1) and shop.cache.get("key") == 1
        entries: Any = client.get_map("own-cache-tests").blocking()
        assert [at for at in entries.key_set() if at.endswith(shop.app.config["CACHE_KEY_PREFIX"] + "key")]
        entries.destroy()


@pytest.mark.parametrize("debug", [False, True])
def test_without_a_cluster_pages_are_rendered_each_time(debug: bool) -> None:
    shop = Shop(absent("blue"), absent("green"))
    shop.app.debug = debug
    shop.page("/page", lambda: "made")
    with client_of(shop.app):
        assert [shop.get("/page").text for _ in range(2)] == ["made", "made"]
    assert shop.rendered == ["/page"] * 2


def test_the_page_of_the_example_is_rendered_once(blue: LocalCluster) -> None:
    app: Flask = create_app({"HAZELCAST_FAILOVER_CLUSTERS": url_of(blue), "CACHE_KEY_PREFIX": uuid4().hex})
    assert isinstance(app.extensions["hazelcast_failover"], HazelcastFailover)
    with client_of(app):
        first, second = (app.test_client().get("/").json for _ in range(2))
    assert first == second
