"""current_app, and other proxies, where an app, an extension or a client is expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest
from cachelib import BaseCache
from flask import Flask, current_app
from flask_caching import Cache
from werkzeug.local import LocalProxy

from flask_hazelcast_failover import HazelcastFailover, signals
from flask_hazelcast_failover.client.events import ClusterRecovered
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.integrations.limits import HazelcastStorage
from flask_hazelcast_failover.integrations.prometheus import FailoverMetrics
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, make_app

CURRENT: Any = current_app
EXTENSION: Any = LocalProxy(lambda: current_app.extensions["hazelcast_failover"])
CLIENT: Any = LocalProxy(lambda: current_app.extensions["hazelcast_failover"].client)


def configured() -> Flask:
    flask_app = Flask("shop")
    flask_app.config["HAZELCAST_FAILOVER_CLUSTERS"] = absent("blue")
    return flask_app


@pytest.mark.parametrize(
    "init", [HazelcastFailover, lambda app: HazelcastFailover().init_app(app)], ids=["at once", "later"]
)
def test_init_app_takes_current_app(init: Callable[[Any], object]) -> None:
    """The app is set up as if it had been given itself, and kept alive by nothing."""
    flask_app = configured()
    with flask_app.app_context():
        init(CURRENT)
    ext = flask_app.extensions["hazelcast_failover"]
    with flask_app.app_context():
        assert ext.client is ext.app_states.of(flask_app).client
    assert flask_app.test_client().get("/hazelcast/health/live").status_code == 200


def test_substitute_takes_current_app() -> None:
    """The client is replaced for the app that is current then."""
    ext, double = HazelcastFailover(), object()
    with make_app(absent("blue"), ext=ext).app_context(), ext.substitute(CURRENT, double):
        assert ext.client is double


@pytest.mark.parametrize("proxy", [CURRENT, CLIENT], ids=["app", "client"])
def test_a_cache_made_with_a_proxy_stays_with_that_app(
    blue: LocalCluster, green: LocalCluster, proxy: Any
) -> None:
    """Whichever app is current when the cache is used."""
    on_blue, on_green = make_app(blue), make_app(green)
    with client_of(on_blue) as blue_client, client_of(on_green) as green_client:
        with on_blue.app_context():
            cache = HazelcastCache(proxy, "proxied")
            storage = HazelcastStorage(client=proxy)
        for other in (on_blue, on_green):
            with other.app_context():
                cache.inc("uses")
                storage.incr("uses", 60)
        assert cache.get("uses") == 2  # outside of any app context
        assert storage.get("uses") == 2
        assert blue_client.get_map("proxied").blocking().size() == 1
        assert green_client.get_map("proxied").blocking().is_empty()
        storage.reset()
        cache.clear()


def test_a_proxy_of_an_extension_is_the_extension(blue: LocalCluster) -> None:
    """Found once, it gives the client of the app that is current, as the extension itself does."""
    ext = HazelcastFailover()
    first, second = make_app(absent("red"), ext=ext), make_app(blue, ext=ext)
    with first.app_context():
        cache = HazelcastCache(EXTENSION, "proxied")
    with client_of(first), client_of(second), second.app_context():
        assert cache.set("key", 1) and cache.get("key") == 1
        cache.clear()


@pytest.mark.parametrize("cache_type", ["HazelcastCache", "make_cache"])
def test_flask_caching_takes_current_app(blue: LocalCluster, cache_type: str) -> None:
    """The cache belongs to the app that was current when it was set up."""
    flask_app, cache = make_app(blue), Cache()
    with client_of(flask_app):
        with flask_app.app_context():
            # Flask-Caching gives the app to a class whose dotted name has no "cachelib" in it, and to a function.
            cache.init_app(CURRENT, config={"CACHE_TYPE": f"tests.app.test_proxies.{cache_type}"})
            backend = cache.cache
        assert backend.set("key", 1) and backend.get("key") == 1
        backend.clear()


def make_cache(app: Any, config: Any, args: list[Any], kwargs: dict[str, Any]) -> BaseCache:
    return HazelcastCache.factory(app, config, args, kwargs)


def test_metrics_take_a_proxy_of_a_client() -> None:
    """The client that it stands for is watched."""
    metrics = FailoverMetrics(prometheus_client.CollectorRegistry())
    with make_app(absent("blue")).app_context():
        metrics.watch(CLIENT)


def test_a_receiver_connected_to_current_app_is_called() -> None:
    """For events of that app only, and no more once it is disconnected from it."""
    flask_app, other, heard = make_app(absent("blue")), make_app(absent("blue")), list[Flask]()

    def receiver(app: Flask, event: object, **_: object) -> None:
        heard.append(app)

    event = ClusterRecovered("blue", downtime=1.0)
    with flask_app.app_context():
        signals.cluster_recovered.connect(receiver, sender=CURRENT)
        assert signals.cluster_recovered.has_receivers_for(CURRENT)
        assert list(signals.cluster_recovered.receivers_for(CURRENT)) == [receiver]
    for app in (flask_app, other):
        signals.announce(app, event)
    assert heard == [flask_app]
    with flask_app.app_context():
        signals.cluster_recovered.disconnect(receiver, sender=CURRENT)
        with signals.cluster_recovered.connected_to(receiver, CURRENT):
            signals.announce(flask_app, event)
        signals.cluster_recovered.connect_via(CURRENT)(receiver)
    signals.announce(flask_app, event)
    signals.cluster_recovered.disconnect(receiver)
    signals.announce(flask_app, event)
    assert heard == [flask_app] * 3


@pytest.mark.parametrize(
    "use",
    [
        lambda: HazelcastFailover(CURRENT),
        lambda: HazelcastFailover().init_app(CURRENT),
        lambda: HazelcastFailover().substitute(CURRENT, object()).__enter__(),
        lambda: HazelcastCache(CURRENT),
        lambda: HazelcastCache(EXTENSION),
        lambda: HazelcastStorage(client=CURRENT),
        lambda: FailoverMetrics(prometheus_client.CollectorRegistry()).watch(CLIENT),
        lambda: signals.cluster_lost.connect(print, sender=CURRENT),
    ],
)
def test_outside_an_app_context_a_proxy_is_refused(use: Callable[[], object]) -> None:
    """The message says what was given and what to do."""
    with pytest.raises(RuntimeError, match=r"(app|client|sender) is a proxy.*with app\.app_context\(\):"):
        use()


def test_a_proxy_of_something_else_is_refused() -> None:
    """By the type of what it stands for."""
    proxy: Any = LocalProxy(lambda: "shop")
    with pytest.raises(TypeError, match="app must be a Flask app, not a str"):
        HazelcastFailover(proxy)
    with pytest.raises(TypeError, match="not a str"):
        HazelcastCache(proxy)
