"""A connection that is lost and back on the same cluster, with the same data: what the client holds there goes on."""

from __future__ import annotations

from typing import Any

import pytest

from flask_hazelcast_failover import ClusterChanged
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.moving import client_at, client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually


def blip(client: Any, relay: Relay) -> None:
    """Cut the connection, and wait until the client is back on the same cluster."""
    epoch, label = client.status().epoch, client.status().current_cluster
    relay.cut()
    eventually(lambda: client.status().epoch == epoch + 1)
    assert client.status().current_cluster == label


@pytest.mark.parametrize("structure", ["get_map", "get_multi_map"])
def test_a_lock_is_still_held(structure: str, blue: LocalCluster, green: LocalCluster) -> None:
    """A lock that was taken before is given back after it, and others have it at once."""
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
    """One taken once before and once after it is given back twice, over two blips."""
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


def test_a_section_goes_on(blue: LocalCluster) -> None:
    """A section that was entered before goes on after it, and ends once the client has moved."""
    with Relay(blue.addresses[0]) as relay, client_at(("blue", relay.address), try_count=3) as client:
        numbers = client.get_map("blip-section").blocking()
        with client.same_cluster():
            numbers.set("k", 1)
            blip(client, relay)
            assert numbers.get("k") == 1


def test_a_section_does_not_outlast_a_move_there_and_back(blue: LocalCluster, green: LocalCluster) -> None:
    """Back on the same cluster with the same data, but by way of another one, the section is over."""
    with client_on(blue, green) as client:
        numbers = client.get_map("blip-away").blocking()
        with client.same_cluster():
            numbers.set("k", 1)
            client.switch_to("green")
            client.switch_to("blue")
            with pytest.raises(ClusterChanged):
                numbers.get("k")


def test_a_sequence_of_a_ring_buffer_goes_on(blue: LocalCluster) -> None:
    """A sequence that was handed out before is of use after it."""
    with Relay(blue.addresses[0]) as relay, client_at(("blue", relay.address), try_count=3) as client:
        ring = client.get_ringbuffer("blip-ring").blocking()
        sequence = ring.add("item")
        blip(client, relay)
        assert ring.read_one(sequence) == "item"


def test_a_transaction_ends(blue: LocalCluster) -> None:
    """A transaction belongs to the connection, says so, and keeps nothing from others."""
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
    """A cluster that has come back empty holds no lock."""
    blue, _ = pair
    with client_on(blue, try_count=3) as client:
        locked = client.get_map("blip-restarted").blocking()
        locked.lock("k")
        blue.kill()
        blue.restart()
        eventually(lambda: client.status().epoch == 2, 15.0)
        with pytest.raises(ClusterChanged, match="is lost"):
            locked.unlock("k")
