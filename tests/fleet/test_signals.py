"""One process of a fleet is the first of each switch, so that a program acts once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from flask import Flask

from flask_hazelcast_failover import signals
from flask_hazelcast_failover.testing import LocalCluster
from tests.support import fleet
from tests.support.fair_time import fair_time
from tests.support.fleet import Process, Start, together
from tests.support.relay import Relay
from tests.support.waiting import eventually

begin, start = fleet.begin, fleet.start


@pytest.mark.parametrize(
    ("standby", "labels"), [("hot", ["green", "blue", "green"]), ("cold", ["green", "blue"])]
)
def test_one_process_is_the_first_of_each_switch(
    blue: LocalCluster, green: LocalCluster, start: Start, standby: str, labels: list[str]
) -> None:
    processes = [start(blue, green, FLEET=f"first-{standby}", STANDBY=standby) for _ in range(3)]
    together(*processes)
    told: list[tuple[str, bool]] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append((event.current, event.fleet_first))

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(note, process.flask_app))
        for count, label in enumerate(labels, 1):
            processes[count % 3].client.switch_to(label)
            eventually(partial(lambda expected: len(told) == expected, 3 * count))
            assert sorted(told[-3:]) == [(label, False), (label, False), (label, True)]


def test_a_lone_process_is_the_first_each_time_it_comes_and_goes(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    with Relay(green.addresses[0]) as relay:
        settings = {"FLEET": "flapping", "CLIENT_OPTIONS": {"smart_routing": False}}
        process = start(blue, f"hazelcast://green@{relay.address}?known_members=false", **settings)
        told: list[tuple[str, str, bool]] = []

        def note(_: Flask, event: signals.ClusterSwitched) -> None:
            told.append((event.current, event.reason, event.fleet_first))

        with signals.cluster_switched.connected_to(note, process.flask_app):
            process.client.switch_to("green")
            eventually(lambda: len(told) == 1)
            relay.refuse()
            eventually(lambda: len(told) == 2)
            relay.resume()
            eventually(lambda: process.client.status().clusters[1].state == "standby")
            process.client.switch_to("green")
            eventually(lambda: len(told) == 3)
    assert told == [
        ("green", "manual", True),
        ("blue", "connection-lost", True),
        ("green", "manual", True),
    ]


@contextmanager
def arriving_on_frozen(
    blue: LocalCluster, green: LocalCluster, processes: list[Process]
) -> Iterator[list[bool]]:
    """Bring a fleet from blue, which dies, to green, which is frozen; gives what is told of `fleet_first`."""
    together(*processes)
    told: list[bool] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append(event.fleet_first)

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(note, process.flask_app))
        green.freeze()
        blue.kill()
        eventually(lambda: all(process.place[0] == "green" for process in processes))
        yield told


def test_one_process_is_the_first_on_a_cluster_that_answers_late(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    processes = [start(*pair, FLEET="late-answer", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    with arriving_on_frozen(*pair, processes) as told:
        time.sleep(1.0)  # that late
        pair[1].thaw()
        eventually(lambda: len(told) == 3)
    assert sorted(told) == [False, False, True]


def test_one_process_is_the_first_on_a_cluster_that_is_lost_before_it_can_be_asked(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    processes = [start(*pair, FLEET="unanswered", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    with arriving_on_frozen(*pair, processes) as told:
        pair[1].kill()
        eventually(lambda: len(told) == 3)
    assert sorted(told) == [False, False, True]


def test_whoever_cannot_ask_is_the_first(pair: tuple[LocalCluster, LocalCluster], start: Start) -> None:
    blue, green = pair
    process = start(blue, green, FLEET="unasked", HEALTH_CHECK_INTERVAL=5.0)
    told: list[signals.ClusterSwitched] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append(event)

    with signals.cluster_switched.connected_to(note, process.flask_app):
        green.freeze()
        began = fair_time()
        blue.kill()
        (event,) = eventually(lambda: told)
        assert event.fleet_first and fair_time() - began < 5
        green.thaw()
