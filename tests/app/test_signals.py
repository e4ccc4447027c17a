"""Signals: their receivers, thread and order, and what happens if a receiver raises."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import FrozenInstanceError, fields
from functools import partial
from typing import Any

import blinker
import pytest
from flask import Flask, current_app, g, has_request_context
from hazelcast.proxy.map import BlockingMap

from flask_hazelcast_failover import HazelcastFailover, signals
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.signals import (
    AddressesChanged,
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    FleetSplit,
    Reason,
    announce,
)
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, make_app
from tests.support.waiting import eventually

EVENTS: dict[str, Event] = {
    "cluster_connected": ClusterConnected("blue", active=True),
    "cluster_lost": ClusterLost("blue", active=True, reason=Reason.CONNECTION_LOST),
    "cluster_switched": ClusterSwitched("blue", "green", Reason.MANUAL, duration=0.1, epoch=2),
    "clusters_exhausted": ClustersExhausted({"blue": "refused"}),
    "cluster_recovered": ClusterRecovered("blue", downtime=1.5),
    "addresses_changed": AddressesChanged("blue", before=("10.0.0.1:5701",), after=("10.0.0.2:5701",)),
    "fleet_split": FleetSplit("shop", {"blue": 3, "green": 1}),
}

Connect = Callable[..., None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect a receiver until the test is over."""
    with ExitStack() as connected:

        def connect(name: str, receiver: Callable[..., Any], sender: Any = blinker.ANY) -> None:
            signal = getattr(signals, name)
            signal.connect(receiver, sender=sender, weak=False)
            connected.callback(signal.disconnect, receiver)

        yield connect


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_is_sent_by_its_signal(name: str, connect: Connect) -> None:
    """The app is the sender."""
    flask_app = Flask("shop")
    got: list[tuple[str, Flask, object]] = []
    for other in EVENTS:
        connect(other, lambda sender, event, other=other: got.append((other, sender, event)))
    announce(flask_app, EVENTS[name])
    assert got == [(name, flask_app, EVENTS[name])]


@pytest.mark.parametrize("name", EVENTS)
def test_signals_are_documented_and_events_frozen(name: str) -> None:
    assert "event" in (getattr(signals, name).__doc__ or "")
    with pytest.raises(FrozenInstanceError):
        setattr(EVENTS[name], fields(EVENTS[name])[0].name, "changed")


def test_a_receiver_runs_inside_an_app_context_of_its_own(connect: Connect) -> None:
    flask_app = Flask("shop")
    seen: list[tuple[str, bool, bool]] = []

    def receive(sender: Flask, event: object) -> None:
        seen.append((current_app.name, has_request_context(), "seen" in g))
        g.seen = True

    connect("cluster_connected", receive)
    connect("cluster_connected", lambda sender, event: receive(sender, event))
    announce(flask_app, EVENTS["cluster_connected"])
    assert seen == [("shop", False, False)] * 2


@pytest.mark.parametrize("error", [ValueError("no such alert"), SystemExit(1)])
def test_a_receiver_that_raises_does_not_stop_the_others(
    error: BaseException, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""
    got: list[str] = []

    def raising(sender: Flask, event: object) -> None:
        got.append("bad")
        raise error

    def well(sender: Flask, event: object) -> None:
        got.append("well")

    # The order in which receivers are called is not defined: with three of each, one of them follows a bad one.
    for _ in range(3):
        connect("cluster_lost", partial(raising))
        connect("cluster_lost", partial(well))
    with caplog.at_level(logging.ERROR, logger="flask_hazelcast_failover.signals"):
        announce(Flask("shop"), EVENTS["cluster_lost"])
    assert sorted(got) == ["bad"] * 3 + ["well"] * 3
    assert (
        len([record for record in caplog.records if record.exc_info and "cluster-lost" in record.message])
        == 3
    )


def test_a_teardown_function_that_raises_is_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    flask_app = Flask("shop")
    got: list[Flask] = []

    @flask_app.teardown_appcontext
    def fail(error: BaseException | None) -> None:
        raise RuntimeError("teardown")

    connect("cluster_lost", lambda sender, **_: got.append(sender))
    connect("cluster_lost", lambda sender, **_: got.append(sender))
    announce(flask_app, EVENTS["cluster_lost"])
    assert len(got) == 2
    assert "teardown" in caplog.text


def test_a_muted_signal_is_not_sent(connect: Connect) -> None:
    got: list[Flask] = []
    connect("cluster_lost", lambda sender, **_: got.append(sender))
    with signals.cluster_lost.muted():
        announce(Flask("shop"), EVENTS["cluster_lost"])
    assert got == []


def test_signals_of_a_switch_come_in_order(pair: tuple[LocalCluster, LocalCluster], connect: Connect) -> None:
    """From one thread, which serves no request."""
    blue, green = pair
    flask_app = make_app(blue, green)
    got: list[tuple[str, Any]] = []
    threads: set[threading.Thread] = set()

    def receive(name: str) -> Callable[..., None]:
        def receiver(sender: Flask, event: Any) -> None:
            assert sender is flask_app and current_app.name == "shop" and not has_request_context()
            threads.add(threading.current_thread())
            got.append((name, event))

        return receiver

    for name in EVENTS:
        connect(name, receive(name), flask_app)
    with client_of(flask_app) as client:
        visits: BlockingMap[str, int] = client.get_map("signals").blocking()
        visits.set("total", 1)
        eventually(
            lambda: {event.cluster for name, event in got if name == "cluster_connected"} == {"blue", "green"}
        )
        blue.kill()
        visits.set("total", 2)
        eventually(lambda: "cluster_switched" in [name for name, _ in got])
    lost = next(event for name, event in got if name == "cluster_lost")
    switched = next(event for name, event in got if name == "cluster_switched")
    assert (lost.cluster, lost.active, lost.reason) == ("blue", True, "connection-lost")
    assert (switched.previous, switched.current, switched.reason) == ("blue", "green", "connection-lost")
    assert (switched.epoch, switched.fleet_first) == (2, True)
    assert 0 <= switched.duration < 5
    names = [name for name, _ in got]
    assert names.index("cluster_lost") < names.index("cluster_switched")
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_two_apps_on_one_extension_are_separate_senders(
    blue: LocalCluster, green: LocalCluster, connect: Connect
) -> None:
    ext = HazelcastFailover()
    first, second = make_app(blue, ext=ext), make_app(green, ext=ext)
    got: list[tuple[Flask, str]] = []
    connect("cluster_connected", lambda sender, event: got.append((sender, event.cluster)))
    with client_of(first) as on_blue, client_of(second) as on_green:
        on_blue.start()
        on_green.start()
        eventually(lambda: len(got) == 2)
        assert sorted(got, key=lambda sent: sent[1]) == [(first, "blue"), (second, "green")]


def test_clusters_exhausted_says_why_for_each(connect: Connect) -> None:
    flask_app = make_app(absent("blue"), absent("green"), TRY_COUNT=1, WAIT_TIMEOUT=2)
    got: list[Any] = []
    connect("clusters_exhausted", lambda _, event: got.append(event), flask_app)
    with client_of(flask_app) as client:
        client.control.connect_soon()
        (event, *_) = eventually(lambda: got)
    assert event.errors.keys() == {"blue", "green"}
    assert all("refused" in why for why in event.errors.values())
