"""One process of a fleet is the first in each switch, so that one alert goes out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
from flask import Flask

from flask_hazelcast_failover import signals
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.fleet import Process, Start, together
from tests.support.relay import Relay
from tests.support.waiting import eventually


@contextmanager
def switches_of(*processes: Process) -> Iterator[list[signals.ClusterSwitched]]:
    """Collect the events of their switches within the block."""
    events: list[signals.ClusterSwitched] = []

    def collect(_: Flask, event: signals.ClusterSwitched) -> None:
        events.append(event)

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(collect, process.flask_app))
        yield events


@contextmanager
def arriving_on_frozen(
    blue: LocalCluster, green: LocalCluster, processes: list[Process]
) -> Iterator[list[signals.ClusterSwitched]]:
    """Move a fleet from blue, which is killed, to green, which is frozen."""
    together(*processes)
    with switches_of(*processes) as switches:
        green.freeze()
        blue.kill()
        eventually(lambda: all(process.place[0] == "green" for process in processes))
        yield switches


def first_flags(switches: list[signals.ClusterSwitched]) -> list[bool]:
    return sorted(event.fleet_first for event in switches)


@pytest.mark.parametrize(
    ("standby", "labels"), [("hot", ["green", "blue", "green"]), ("cold", ["green", "blue"])]
)
def test_one_process_is_first_in_each_switch(
    blue: LocalCluster, green: LocalCluster, start: Start, standby: str, labels: list[str]
) -> None:
    processes = [start(blue, green, FLEET=f"first-{standby}", STANDBY=standby) for _ in range(3)]
    together(*processes)
    with switches_of(*processes) as switches:
        for count, label in enumerate(labels, 1):
            processes[count % 3].client.switch_to(label)
            eventually(partial(lambda expected: len(switches) == expected, 3 * count))
            assert {event.current for event in switches[-3:]} == {label}
            assert first_flags(switches[-3:]) == [False, False, True]


def test_a_lone_process_is_first_in_each_switch(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    with Relay(green.addresses[0]) as relay:
        settings = {"FLEET": "flapping", "CLIENT_OPTIONS": {"smart_routing": False}}
        process = start(blue, f"hazelcast://green@{relay.address}?known_members=false", **settings)
        with switches_of(process) as switches:
            process.client.switch_to("green")
            eventually(lambda: len(switches) == 1)
            relay.refuse()
            eventually(lambda: len(switches) == 2)
            relay.resume()
            eventually(lambda: process.client.status().clusters[1].state == "standby")
            process.client.switch_to("green")
            eventually(lambda: len(switches) == 3)
    assert [(event.current, event.reason, event.fleet_first) for event in switches] == [
        ("green", "manual", True),
        ("blue", "connection-lost", True),
        ("green", "manual", True),
    ]


def test_one_process_is_first_on_a_cluster_that_answers_late(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    processes = [start(*pair, FLEET="late-answer", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    with arriving_on_frozen(*pair, processes) as switches:
        time.sleep(1.0)  # that late
        pair[1].thaw()
        eventually(lambda: len(switches) == 3)
    assert first_flags(switches) == [False, False, True]


def test_one_process_is_first_on_a_cluster_lost_at_once(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    """The cluster is lost before it has answered who arrived first."""
    processes = [start(*pair, FLEET="unanswered", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    with arriving_on_frozen(*pair, processes) as switches:
        pair[1].kill()
        eventually(lambda: len(switches) == 3)
    assert first_flags(switches) == [False, False, True]


def test_a_lone_process_is_first_on_a_frozen_cluster(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    blue, green = pair
    process = start(blue, green, FLEET="unasked", HEALTH_CHECK_INTERVAL=5.0)
    with switches_of(process) as switches:
        green.freeze()
        blue.kill()
        (event,) = eventually(lambda: switches)
        assert event.fleet_first
        green.thaw()
