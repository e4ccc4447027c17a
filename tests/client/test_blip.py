"""A blip: the connection is lost and back on the same cluster, with the same data. What the client holds stays valid."""

from __future__ import annotations

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_hazelcast_failover import ClusterChanged
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

# A delay of the relay must not lose the cluster.
UNCHECKED: dict[str, Any] = {"health_check_interval": 0}


def blip(client: Any, relay: Relay) -> None:
    """Cut the connection, and wait until the client is back on the same cluster."""
    epoch, label = client.status().epoch, client.status().current_cluster
    relay.cut()
    eventually(lambda: client.status().epoch == epoch + 1)
    assert client.status().current_cluster == label


def has_moved_on(client: Any, epoch: int) -> bool:
    return bool(client.status().epoch > epoch)


def reached(turns: list[int], goal: int) -> bool:
    return min(turns) >= goal


@pytest.mark.parametrize("structure", ["get_map", "get_multi_map"])
def test_a_lock_is_still_held(structure: str, blue: LocalCluster, green: LocalCluster) -> None:
    """A lock taken before it is released after it, and free for others at once."""
    with Relay(blue.addresses[0]) as relay, client_on(blue) as other:
        with client_at(("blue", relay.address), ("green", green.addresses[0]), try_count=3) as client:
            locked = getattr(client, structure)("blip-lock").blocking()
            theirs = getattr(other, structure)("blip-lock").blocking()
            locked.lock("k")
            blip(client, relay)
            assert not theirs.try_lock("k")
            locked.unlock("k")
            assert theirs.try_lock("k")
            theirs.unlock("k")


def test_a_lock_that_is_taken_twice(blue: LocalCluster) -> None:
    """A lock taken before and after it is released twice, over two blips."""
    with Relay(blue.addresses[0]) as relay, client_on(blue) as other:
        with client_at(("blue", relay.address), try_count=3) as client:
            locked = client.get_map("blip-twice").blocking()
            locked.lock("k")
            blip(client, relay)
            locked.lock("k")
            blip(client, relay)
            locked.unlock("k")
            assert other.get_map("blip-twice").blocking().is_locked("k")
            locked.unlock("k")
            assert not other.get_map("blip-twice").blocking().is_locked("k")


@pytest.mark.parametrize("cut_after", [0.15, 0.45], ids=["the request is lost", "the answer is lost"])
@pytest.mark.parametrize("structure", ["get_map", "get_multi_map"])
def test_a_lock_in_flight(structure: str, cut_after: float, blue: LocalCluster) -> None:
    """Locking and unlocking run once each, though the connection is lost meanwhile."""
    with Relay(blue.addresses[0]) as relay, client_on(blue) as other, ThreadPoolExecutor(1) as holder:
        with client_at(("blue", relay.address), try_count=5, **UNCHECKED) as client:
            locked = getattr(client, structure)("blip-in-flight").blocking()
            theirs = getattr(other, structure)("blip-in-flight").blocking()
            locked.is_locked("k")
            for call in (locked.lock, locked.unlock):
                epoch = client.status().epoch
                relay.delay(0.3)
                calling = holder.submit(call, "k")
                time.sleep(cut_after)  # the request, or the answer, is in the relay
                relay.cut()
                relay.resume()
                eventually(functools.partial(has_moved_on, client, epoch))
                calling.result(10)
                assert theirs.is_locked("k") == (call == locked.lock)
            assert theirs.try_lock("k")
            theirs.unlock("k")


def test_locks_under_load(blue: LocalCluster) -> None:
    """Threads that lock and unlock all the time continue, and leave no lock behind."""
    with Relay(blue.addresses[0]) as relay, client_on(blue) as other:
        with client_at(("blue", relay.address), try_count=5, **UNCHECKED) as client:
            locked = client.get_map("blip-load").blocking()
            over, turns = threading.Event(), [0] * 4

            def use(number: int) -> None:
                while not over.is_set():
                    locked.lock("k")
                    locked.unlock("k")
                    turns[number] += 1

            users = [BackgroundCall(functools.partial(use, number)) for number in range(len(turns))]
            for _ in range(3):
                goal = min(turns) + 3
                eventually(functools.partial(reached, turns, goal))
                blip(client, relay)
            over.set()
            for user in users:
                assert user.wait().error is None
            assert other.get_map("blip-load").blocking().try_lock("k")
            other.get_map("blip-load").blocking().unlock("k")


def test_a_section_continues(blue: LocalCluster) -> None:
    """A same_cluster section entered before it continues after it."""
    with Relay(blue.addresses[0]) as relay, client_at(("blue", relay.address), try_count=3) as client:
        numbers = client.get_map("blip-section").blocking()
        with client.same_cluster():
            numbers.set("k", 1)
            blip(client, relay)
            assert numbers.get("k") == 1


def test_a_section_does_not_outlast_a_switch_and_back(blue: LocalCluster, green: LocalCluster) -> None:
    """A same_cluster section ends with a switch, also when a second one leads back."""
    with client_on(blue, green) as client:
        numbers = client.get_map("blip-away").blocking()
        with client.same_cluster():
            numbers.set("k", 1)
            client.switch_to("green")
            client.switch_to("blue")
            with pytest.raises(ClusterChanged):
                numbers.get("k")


def test_a_sequence_of_a_ring_buffer_stays_valid(blue: LocalCluster) -> None:
    """A sequence returned before it can be read after it."""
    with Relay(blue.addresses[0]) as relay, client_at(("blue", relay.address), try_count=3) as client:
        ring = client.get_ringbuffer("blip-ring").blocking()
        sequence = ring.add("item")
        blip(client, relay)
        assert ring.read_one(sequence) == "item"


def test_a_transaction_ends(blue: LocalCluster) -> None:
    """A transaction ends with its connection: its calls raise, and its locks are released."""
    with (
        Relay(blue.addresses[0]) as relay,
        client_on(blue) as other,
        client_at(("blue", relay.address), try_count=3) as client,
    ):
        transaction = client.new_transaction()
        transaction.begin()
        numbers = transaction.get_map("blip-transaction")
        numbers.put("k", 1)
        blip(client, relay)
        with pytest.raises(ClusterChanged):
            numbers.put("k", 2)
        with pytest.raises(ClusterChanged):
            transaction.rollback()
        assert other.get_map("blip-transaction").blocking().try_put("k", 3, timeout=10)


def test_a_lock_of_a_restarted_cluster_is_lost(pair: tuple[LocalCluster, LocalCluster]) -> None:
    """A cluster that is back empty holds no lock."""
    blue, _ = pair
    with client_on(blue, try_count=3) as client:
        locked = client.get_map("blip-restarted").blocking()
        locked.lock("k")
        blue.kill()
        blue.restart()
        eventually(lambda: client.status().epoch == 2, 15.0)
        with pytest.raises(ClusterChanged, match="is lost"):
            locked.unlock("k")
