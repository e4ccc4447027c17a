"""Switches on purpose: no operation fails, drain_timeout is kept, and a failed switch changes nothing."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover import ClientOfflineException, OperationOutcomeUnknown
from flask_hazelcast_failover.client.events import ClusterConnected, ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.fair_time import fair_time
from tests.support.faults import Load, Offers, cluster_of, connected_to, is_on, relayed
from tests.support.relay import Relay
from tests.support.waiting import eventually


def test_an_orderly_shutdown_of_a_cluster_fails_no_operation(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    blue, green = pair
    with connected_to({"blue": blue.addresses, "green": green.addresses}) as (client, recorder):
        with Load(client, "switching-shut-down") as load:
            load.wait_for_progress()
            blue.members[0].shut_down()
            eventually(is_on(client, "green"))
            load.wait_for_progress()
        assert load.errors == []
        eventually(lambda: [event.current for event in recorder.of(ClusterSwitched)] == ["green"])


def test_an_orderly_shutdown_of_one_member_is_no_loss(start_cluster: StartCluster) -> None:
    blue = start_cluster("blue", members=2)
    with connected_to({"blue": blue.addresses}, operation_timeout=20.0) as (client, recorder):
        with Load(client, "switching-leaves") as load:
            load.wait_for_progress()
            blue.members[1].shut_down()
            eventually(lambda: cluster_of(client, "blue").members == 1, 10.0)
            load.wait_for_progress()
        assert load.errors == []
        assert not recorder.of(ClusterLost) and client.status().epoch == 1


@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_switches_under_load_run_offers_once(standby: str, blue: LocalCluster, green: LocalCluster) -> None:
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with connected_to(addresses, standby=standby) as (client, _):
        load = Offers(client, "switching-offers")
        with load:
            for _ in range(5):
                client.switch_to("green")
                load.wait_for_progress()
                client.reset()
                load.wait_for_progress()
        assert load.errors == []
        counted = client.operation_counts()
        assert (counted.repeated, counted.unknown) == (0, 0)
    there: list[tuple[int, int]] = []
    for cluster in (blue, green):
        with client_on(cluster) as reader:
            items: Any = reader.get_queue("switching-offers").blocking()
            there += items.iterator()
            items.destroy()
    assert sorted(there) == sorted(load.offered)


@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_switches_under_load_fail_no_operation(standby: str, blue: LocalCluster, green: LocalCluster) -> None:
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with connected_to(addresses, standby=standby, repeat="none") as (client, recorder):
        with Load(client, "switching-load", threads=8) as load:
            for _ in range(5):
                client.switch_to("green")
                assert client.status().current_cluster == "green"
                load.wait_for_progress()
                client.reset()
                assert client.status().on_primary
                load.wait_for_progress()
        assert load.errors == []
        history = client.status().history
        assert [(switch.previous, switch.current) for switch in history] == [
            ("blue", "green"),
            ("green", "blue"),
        ] * 5
        assert {switch.reason for switch in history} == {"manual"}
        assert client.status().epoch == 11
        assert not recorder.of(ClusterLost)
        if standby == "cold":
            eventually(lambda: cluster_of(client, "green").state == "idle")


def test_proxies_are_made_on_standbys_before_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with connected_to(addresses) as (client, _):
        eventually(lambda: cluster_of(client, "green").state == "standby")
        used: Any = client.get_map("switching-beforehand").blocking()
        used.get("k")
        standing_by = client.control.connected_clusters()["green"]
        eventually(
            lambda: "switching-beforehand" in {made.name for made in standing_by.get_distributed_objects()}
        )


@pytest.mark.parametrize("with_listener", [False, True])
@pytest.mark.timing
def test_a_switch_to_a_frozen_target_fails_and_changes_nothing(
    with_listener: bool, blue: LocalCluster, green: LocalCluster
) -> None:
    with relayed(blue, green, health_check_interval=0, connect_timeout=0.5) as (client, recorder, relays):
        numbers: Any = client.get_map("switching-frozen").blocking()
        numbers.set("k", 1)
        if with_listener:
            numbers.add_entry_listener(added_func=print)
        eventually(lambda: cluster_of(client, "green").state == "standby")
        relays[1].freeze()
        began = fair_time()
        with pytest.raises(ClientOfflineException, match="green"):
            client.switch_to("green")
        assert fair_time() - began < 3.0
        assert (client.status().current_cluster, client.status().epoch) == ("blue", 1)
        assert numbers.get("k") == 1
        assert not recorder.of(ClusterSwitched)
        relays[1].resume()
        eventually(lambda: cluster_of(client, "green").state == "standby")
        client.switch_to("green")


@pytest.mark.parametrize("way", ["on purpose", "by a loss"])
@pytest.mark.timing
def test_a_target_with_a_minority_of_frozen_members_is_used(
    way: str, blue: LocalCluster, start_cluster: StartCluster
) -> None:
    three = start_cluster("three", members=3)
    with Relay(blue.addresses[0]) as relay:
        addresses = {"blue": [relay.address], "three": three.addresses}
        with connected_to(addresses, connect_timeout=5.0, health_check_interval=0) as (client, recorder):
            # Members assign partitions at their first use, and the frozen one would have to tell the others.
            with client_on(three) as first:
                first.get_map("switching-minority").blocking().put_all({n: n for n in range(500)})
            standing_by = client.control.connected_clusters()["three"].partition_service
            eventually(lambda: standing_by.get_partition_owner(0))
            received: list[int] = []
            numbers: Any = client.get_map("switching-received").blocking()
            numbers.add_entry_listener(added_func=lambda event: received.append(event.key))
            client.get_queue("switching-received").blocking().add_listener(item_added_func=print)
            three.members[0].freeze()
            began = fair_time()
            if way == "on purpose":
                client.switch_to("three")
            else:
                relay.refuse()
            eventually(is_on(client, "three"))
            assert fair_time() - began < 4.0
            assert not [event for event in recorder.of(ClusterLost) if event.cluster == "three"]
            three.members[0].thaw()
            # A member may run a write before a registration that was sent earlier.
            registrations = client.control.connected_clusters()[
                "three"
            ]._listener_service._active_registrations
            eventually(
                lambda: {len(one.connection_registrations) for one in registrations.values()} == {3}, 10.0
            )
            numbers.put_all({number: number for number in range(50)})  # on each of the members
            eventually(lambda: sorted(received) == list(range(50)), 10.0)


def test_a_switch_to_the_current_cluster_does_nothing(blue: LocalCluster, green: LocalCluster) -> None:
    with connected_to({"blue": blue.addresses, "green": green.addresses}) as (client, _):
        client.switch_to("blue")
        client.reset()
        assert client.status().epoch == 1
        assert client.status().history == ()


@pytest.mark.timing
def test_a_blocked_take_ends_after_drain_timeout(blue: LocalCluster, green: LocalCluster) -> None:
    """It takes no item later."""
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with connected_to(addresses, drain_timeout=1.5) as (client, _):
        queue: Any = client.get_queue("switching-take").blocking()
        ended: list[tuple[float, BaseException]] = []

        def take() -> None:
            try:
                queue.take()
            except OperationOutcomeUnknown as error:
                ended.append((time.monotonic(), error))

        taking = threading.Thread(target=take)
        taking.start()
        eventually(lambda: [link for link in client._runtime.engine.links.all() if not link.is_idle])
        began = time.monotonic()
        client.switch_to("green")
        assert time.monotonic() - began < 1.4, "draining continues in the background"
        taking.join(5.0)
        at, error = ended[0]
        assert 1.4 < at - began < 4.0
        assert all(word in str(error) for word in ("switching-take", "take", "blue"))
        client.reset()
        queue.offer("an item")
        time.sleep(0.2)  # the time in which the abandoned take would get it
        assert queue.poll() == "an item"


def test_operations_in_flight_finish_on_their_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with (
        connected_to(addresses, drain_timeout=5.0) as (client, _),
        connected_to({"blue": blue.addresses}) as (
            other,
            _,
        ),
    ):
        queue: Any = client.get_queue("switching-finish").blocking()
        taken: list[object] = []
        taking = threading.Thread(target=lambda: taken.append(queue.take()))
        taking.start()
        eventually(lambda: [link for link in client._runtime.engine.links.all() if not link.is_idle])
        client.switch_to("green")
        other.get_queue("switching-finish").blocking().offer("from blue")  # type: ignore[arg-type]
        taking.join(5.0)
        assert taken == ["from blue"]


class TestATargetThatCannotBeReached:
    def test_a_failed_switch_changes_nothing(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green, try_count=2) as (client, recorder, relays):
            relays[1].refuse()
            eventually(lambda: cluster_of(client, "green").state == "down")
            before = client.status()
            with Load(client, "switching-nowhere", threads=2) as load:
                with pytest.raises(ClientOfflineException, match=r"green .*refused"):
                    client.switch_to("green")
            assert load.errors == []
            after = client.status()
            assert (after.current_cluster, after.epoch, after.history) == ("blue", 1, ())
            assert before.state == after.state == "connected"
            assert not recorder.of(ClusterSwitched)

    def test_a_target_that_is_back_meanwhile_is_used(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green, try_count=20, retry_delay=0.1) as (client, _, relays):
            relays[1].refuse()
            eventually(lambda: cluster_of(client, "green").state == "down")
            timer = threading.Timer(0.3, relays[1].resume)
            timer.start()
            client.switch_to("green")
            assert client.status().current_cluster == "green"
            timer.join()

    def test_an_unknown_label(self, blue: LocalCluster) -> None:
        with connected_to({"blue": blue.addresses}) as (client, _):
            with pytest.raises(ValueError, match=r"'grene'.*blue"):
                client.switch_to("grene")
            with pytest.raises(TypeError, match="label"):
                client.switch_to(1)  # type: ignore[arg-type]


def test_concurrent_switches_run_one_after_the_other(blue: LocalCluster, green: LocalCluster) -> None:
    addresses = {"blue": blue.addresses, "green": green.addresses}
    with connected_to(addresses) as (client, recorder):
        eventually(lambda: cluster_of(client, "green").state == "standby")
        errors: list[Exception] = []

        def move(label: str) -> None:
            try:
                for _ in range(5):
                    client.switch_to(label)
            except Exception as error:
                errors.append(error)

        with Load(client, "switching-many", threads=2) as load:
            movers = [threading.Thread(target=move, args=(("blue", "green")[i % 2],)) for i in range(12)]
            for mover in movers:
                mover.start()
            for mover in movers:
                mover.join(30.0)
        assert errors == []
        assert load.errors == []
        eventually(lambda: len(recorder.of(ClusterSwitched)) == client.status().epoch - 1)
        switches = recorder.of(ClusterSwitched)
        assert all(a.current == b.previous for a, b in itertools.pairwise(switches))
        assert [switch.epoch for switch in switches] == list(range(2, len(switches) + 2))


def test_a_switch_whose_target_freezes_meanwhile_changes_nothing(
    blue: LocalCluster, green: LocalCluster
) -> None:
    with relayed(blue, green, standby="cold", health_check_interval=0) as (client, _, relays):
        relays[1].freeze()
        with pytest.raises(ClientOfflineException, match="green"):
            client.switch_to("green")
        assert (client.status().current_cluster, client.status().epoch) == ("blue", 1)


def test_a_switch_from_a_cluster_that_is_lost_meanwhile(blue: LocalCluster, green: LocalCluster) -> None:
    with relayed(blue, green, standby="cold", health_check_interval=0, connect_timeout=5.0) as (
        client,
        recorder,
        relays,
    ):
        relays[1].delay(0.05)
        timer = threading.Timer(0.1, relays[0].refuse)
        timer.start()
        client.switch_to("green")
        timer.join()
        eventually(lambda: client.status().state == "connected")
        assert client.status().current_cluster == "green"
        eventually(lambda: len(recorder.of(ClusterSwitched)) == 1)
        eventually(lambda: [event.cluster for event in recorder.of(ClusterConnected)] == ["blue", "green"])


def test_a_pending_switch_fails_at_shutdown(blue: LocalCluster, green: LocalCluster) -> None:
    with relayed(blue, green, standby="cold", health_check_interval=0, connect_timeout=20.0) as (
        client,
        _,
        relays,
    ):
        relays[1].freeze()
        ended: list[Exception] = []

        def move() -> None:
            try:
                client.switch_to("green")
            except Exception as error:
                ended.append(error)

        moving = threading.Thread(target=move)
        moving.start()
        eventually(lambda: relays[1].link_count == 0 and cluster_of(client, "green").state == "connecting")
        client.shutdown()
        moving.join(3.0)
        assert isinstance(ended[0], HazelcastClientNotActiveError)
