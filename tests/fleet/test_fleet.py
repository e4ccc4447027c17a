"""Who belongs to a fleet, where late starters begin, and failback: several processes on real clusters."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from flask import Flask, Request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from flask_hazelcast_failover import ClientConfig, HazelcastClient
from flask_hazelcast_failover._fleet import fleet as fleet_module
from flask_hazelcast_failover._fleet import initial_placement, server_name
from flask_hazelcast_failover._fleet.cluster_store import StoreSnapshot, map_name
from flask_hazelcast_failover._fleet.fleet_store import FleetStore, read_once
from flask_hazelcast_failover._fleet.records import by_majority
from flask_hazelcast_failover.client._official import OfficialClient
from flask_hazelcast_failover.client.events import Reason
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, url_of
from tests.support.fleet import Start, together
from tests.support.relay import Relay
from tests.support.waiting import eventually

# What a late starter waits for has time to come, also on a busy machine.
UNHURRIED = {"CONNECT_TIMEOUT": 60.0, "WAIT_TIMEOUT": 60.0}


@pytest.fixture
def unhurried_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clusters have time to report where the fleet is."""
    monkeypatch.setattr(fleet_module, "_PLACEMENT_TIMEOUT", 20.0)
    monkeypatch.setattr(initial_placement, "_TIMEOUT", 20.0)


# Who belongs to a fleet


def test_fleets_on_the_same_clusters_are_separate(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    one, other = start(blue, green, FLEET="one"), start(blue, green, FLEET="other")
    unnamed, another = start(blue, green), start(blue, green)
    assert one.post("switch", cluster="green").get_json()["told"] == [one.id]
    time.sleep(1.2)  # others of the fleet would have switched by then
    for process in (other, unnamed, another):
        assert process.place == ("blue", 1)
        assert (set(process.seen), process.fleet["desired"]) == ({process.id}, None)


def test_a_shell_sees_the_fleet_and_does_not_count(
    blue: LocalCluster, green: LocalCluster, start: Start, begin: Start
) -> None:
    """A shell has served no request. It can still switch the fleet."""
    process, shell = start(blue, green, FLEET="shells"), begin(blue, green, FLEET="shells")
    shell.client.start()
    together(process)
    with shell.flask_app.app_context():
        status = shell.flask_app.extensions["hazelcast_failover"].steering.status()
    assert [worker["id"] for worker in status["fleet"]["workers"]] == [process.id]
    assert set(process.seen) == {process.id}
    shell.client.switch_to("green")
    assert (shell.place, process.place) == (("green", 2), ("green", 2))
    assert process.desired["by"] == f"process {shell.id}"


def test_a_process_counts_before_its_first_session_is_opened(blue: LocalCluster, begin: Start) -> None:
    process = begin(blue)
    ext = process.flask_app.extensions["hazelcast_failover"]
    seen: list[list[str]] = []

    class Sessions(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
            seen.append([worker["id"] for worker in ext.steering.status()["fleet"]["workers"]])
            return super().open_session(app, request)

    process.flask_app.session_interface = Sessions()
    process.visitor.get("/hazelcast/health/live")
    assert seen == [[process.id]]


def test_a_process_that_ends_is_removed_at_once(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    here, leaving = start(blue, green, FLEET="leaving"), start(blue, green, FLEET="leaving")
    together(here, leaving)
    leaving.client.shutdown()
    eventually(lambda: set(here.seen) == {here.id}, within=1.5)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("hazelcast-failover-fleet")
    ][1:]


def test_an_unused_client_has_no_fleet_thread_and_no_map(blue: LocalCluster, begin: Start) -> None:
    process = begin(blue, FLEET="unused")
    assert process.fleet["name"] == "unused"
    assert [worker["current_cluster"] for worker in process.fleet["workers"]] == [None]
    time.sleep(0.3)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("hazelcast-failover-fleet")
    ]
    config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": blue.addresses})
    with HazelcastClient(config) as client:
        assert map_name("unused") not in [found.name for found in client.get_distributed_objects()]


def test_server_names_distinguish_apps() -> None:
    names = [
        server_name("shop", "/srv/shop"),
        server_name("shop", "/srv/shop"),
        server_name("shop", "/srv/b"),
    ]
    assert len({name() for name in names}) == 3
    assert names[0]() == names[0]() and names[0]().startswith("shop@")


# Late starters


@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_a_late_starter_begins_where_the_fleet_is(
    blue: LocalCluster, green: LocalCluster, start: Start, standby: str
) -> None:
    first = start(blue, green, FLEET=f"late-{standby}")
    first.client.switch_to("green")
    late = start(blue, green, FLEET=f"late-{standby}", STANDBY=standby)
    assert (late.place, late.client.status().history) == (("green", 1), ())
    together(first, late)
    expected = {"green": "active", "blue": "standby" if standby == "hot" else "idle"}
    eventually(lambda: {c.label: c.state for c in late.client.status().clusters} == expected)


@pytest.mark.usefixtures("unhurried_placement")
def test_a_late_starter_follows_a_majority_that_has_just_moved(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    first = start(blue, green, FLEET="late-majority")
    first.client.control.switch(1, Reason.CONNECTION_LOST, holds=False)
    for official in first.client.control.connected_clusters().values():
        store: Any = official.get_map(map_name("late-majority")).blocking()
        eventually(lambda store=store: '"green"' in str(store.get(f"worker/{first.id}")))  # type: ignore[misc]
        store.set("desired", by_majority(None, "blue").as_text())  # where the majority was before
    assert start(blue, green, FLEET="late-majority", **UNHURRIED).place == ("green", 1)


@pytest.mark.usefixtures("unhurried_placement")
def test_a_late_starter_listens_to_another_than_the_primary(
    blue: LocalCluster, green: LocalCluster, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary cannot be read."""
    start(blue, green, FLEET="late-mute").client.switch_to("green")

    def read(client: OfficialClient, *arguments: Any) -> StoreSnapshot:
        if client._config.cluster_name == "blue":
            raise TimeoutError("no answer in time")
        time.sleep(0.3)  # after the other
        return read_once(client, *arguments)

    monkeypatch.setattr(fleet_module, "read_once", read)
    assert start(blue, green, FLEET="late-mute", **UNHURRIED).place == ("green", 1)


def test_a_late_starter_that_cannot_reach_the_fleet(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    """It begins on a cluster that it can reach."""
    start(blue, green, FLEET="late-cut").client.switch_to("green")
    assert start(blue, absent("green"), FLEET="late-cut").place == ("blue", 1)


def test_a_fleet_does_not_touch_the_shared_random_state(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    before = random.getstate()
    processes = [start(blue, green, FLEET="seeded") for _ in range(2)]
    together(*processes)
    processes[0].client.switch_to("green")
    processes[0].client.reset()
    assert random.getstate() == before


def test_the_desired_state_of_a_named_fleet_is_kept(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    """It outlives the processes."""
    gone = start(blue, green, FLEET="outlived")
    gone.client.switch_to("green")
    gone.client.shutdown()
    later = start(blue, green, FLEET="outlived")
    assert later.place == ("green", 1)
    assert later.desired["label"] == "green"


# Failback


def test_a_switch_suspends_failback_for_late_starters_too(
    blue: LocalCluster, green: LocalCluster, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"FLEET": "held", "FAILBACK": "auto", "FAILBACK_AFTER": 0.2}
    first = start(blue, green, **settings)
    first.client.switch_to("green")
    with monkeypatch.context() as unreadable:
        unreadable.setattr(FleetStore, "read", lambda *_: [])
        late = start(blue, green, **settings)
        time.sleep(1.5)  # several times as long as a failback takes
        assert (first.place, late.place) == (("green", 2), ("green", 1))
    together(first, late)
    time.sleep(0.5)  # as above
    assert (first.place, late.place) == (("green", 2), ("green", 1))
    late.client.reset()
    eventually(lambda: (first.place, late.place) == (("blue", 3), ("blue", 2)), within=1.5)


def test_an_order_for_an_unknown_cluster_allows_failback(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    """The process that does not have the cluster still fails back, and the others do not follow it."""
    with Relay(blue.addresses[0]) as relay:
        options = {"FAILBACK": "auto", "FAILBACK_AFTER": 0.2, "CLIENT_OPTIONS": {"smart_routing": False}}
        clusters = f"hazelcast://blue@{relay.address}?known_members=false", f"{url_of(green)}?label=away"
        partial = start(*clusters, FLEET="partial", **options)
        process = start(blue, green, FLEET="partial")
        together(partial, process)
        assert process.post("switch", cluster="green", force=True).get_json()["done"] == [process.id]
        eventually(lambda: partial.desired.get("label") == "green")
        relay.refuse()
        eventually(lambda: partial.place == ("away", 2))
        relay.resume()
        eventually(lambda: partial.place == ("blue", 3))
        eventually(lambda: process.seen[partial.id] == "blue")
        time.sleep(0.5)  # it would follow within that time
        assert process.place == ("green", 2), "it must stay there"


def test_a_failback_of_a_shell_is_not_reported(
    blue: LocalCluster, green: LocalCluster, start: Start, begin: Start
) -> None:
    """Not even once it serves."""
    with Relay(blue.addresses[0]) as relay:
        options = {"FAILBACK": "auto", "FAILBACK_AFTER": 0.2, "CLIENT_OPTIONS": {"smart_routing": False}}
        shell = begin(
            f"hazelcast://blue@{relay.address}?known_members=false", green, FLEET="apart", **options
        )
        shell.client.start()
        relay.refuse()
        eventually(lambda: shell.place == ("green", 2))
        relay.resume()
        eventually(lambda: shell.place == ("blue", 3))
        process = start(blue, green, FLEET="apart")
        process.client.switch_to("green")
        eventually(lambda: shell.place == ("green", 4))
        shell.visitor.get("/hazelcast/health/live")
        together(process, shell)
        time.sleep(0.5)  # its failback would be reported within that time
        assert (process.place[0], process.desired["label"]) == ("green", "green")


def test_a_failback_waits_until_all_can_follow(start_cluster: Any, green: LocalCluster, start: Start) -> None:
    """Then the others follow."""
    blue = start_cluster("blue")
    auto = start(blue, green, FLEET="waiting", FAILBACK="auto", FAILBACK_AFTER=0.3)
    manual = start(blue, green, FLEET="waiting")
    unable = start(absent("blue"), green, FLEET="waiting")
    blue.kill()
    eventually(lambda: (auto.place, manual.place) == (("green", 2), ("green", 2)))
    together(auto, manual, unable)
    blue.restart()
    time.sleep(2.5)  # the controller checks at least every second
    assert (auto.place, manual.place) == (("green", 2), ("green", 2))
    unable.client.shutdown()
    eventually(lambda: (auto.place, manual.place) == (("blue", 3), ("blue", 3)), within=6)
    reasons = [process.client.status().history[-1].reason for process in (auto, manual)]
    assert reasons == ["failback", "fleet"]
    eventually(lambda: auto.desired.get("by") == "failback")
