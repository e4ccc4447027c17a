"""Sections, locks and sequences of a cluster that was left fail with ClusterChanged."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hazelcast.errors import IllegalMonitorStateError

from flask_hazelcast_failover import ClusterChanged
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_on
from tests.support.waiting import eventually


def test_section_fails_after_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    """Every kind of operation in a same_cluster() section raises ClusterChanged once the client has moved."""
    with client_on(blue, green) as client:
        numbers = client.get_map("section").blocking()
        with client.same_cluster():
            numbers.set("visits", 1)
            client.switch_to("green")
            for operation in (
                lambda: numbers.get("visits"),
                lambda: numbers.set("visits", 2),
                lambda: client.get_queue("section").blocking().offer(1),
                lambda: client.get_map("section").get("visits").result(),
                lambda: client.get_distributed_objects(),
                lambda: client.new_transaction(),
            ):
                with pytest.raises(ClusterChanged, match="green"):
                    operation()
        assert numbers.get("visits") is None
        with client.same_cluster():
            numbers.set("visits", 3)


def test_section_fails_after_there_and_back(blue: LocalCluster, green: LocalCluster) -> None:
    """It fails although the client is on the first cluster again: others may have changed it meanwhile."""
    with client_on(blue, green) as client:
        numbers = client.get_map("section-aba").blocking()
        with client.same_cluster():
            numbers.get("a")
            client.switch_to("green")
            client.switch_to("blue")
            with pytest.raises(ClusterChanged):
                numbers.get("a")


def test_section_fails_after_a_loss(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:
        numbers = client.get_map("section").blocking()
        with client.same_cluster():
            numbers.get("a")
            blue.kill()
            with pytest.raises(ClusterChanged):
                numbers.get("a")


def test_section_of_one_thread_and_nested(blue: LocalCluster, green: LocalCluster) -> None:
    """A section concerns its own thread, and a nested one belongs to the outermost."""
    with client_on(blue, green) as client:
        numbers = client.get_map("threads").blocking()
        with client.same_cluster():
            client.switch_to("green")
            assert BackgroundCall(lambda: numbers.get("a")).wait().error is None
            with client.same_cluster(), pytest.raises(ClusterChanged):
                numbers.get("a")
        assert numbers.get("a") is None


def structures(client: Any) -> list[Any]:
    return [client.get_map("locks").blocking(), client.get_multi_map("locks").blocking()]


@pytest.mark.parametrize("which", [0, 1], ids=["Map", "MultiMap"])
@pytest.mark.parametrize("key", ["k", ["not", "hashable"]], ids=str)
def test_unlock_after_a_switch(which: int, key: Any, blue: LocalCluster, green: LocalCluster) -> None:
    """It raises ClusterChanged once; from then on the lock is one like any other."""
    with client_on(blue, green) as client:
        locks = structures(client)[which]
        locks.lock(key)
        client.switch_to("green")
        with pytest.raises(ClusterChanged, match="blue"):
            locks.unlock(key)
        with pytest.raises(IllegalMonitorStateError):  # said once; from then on it is a lock like any other
            locks.unlock(key)
        locks.lock(key)
        locks.unlock(key)


def test_released_lock_has_no_affinity(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        locks = client.get_map("given-back").blocking()
        locks.lock("k")
        assert locks.try_lock("k") is True  # by the same thread: counts twice
        locks.unlock("k")
        locks.unlock("k")
        client.switch_to("green")
        with pytest.raises(IllegalMonitorStateError):
            locks.unlock("k")


def test_lock_not_acquired_has_no_affinity(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        locks = client.get_map("not-got").blocking()
        BackgroundCall(lambda: locks.lock("k")).wait()
        assert locks.try_lock("k") is False
        client.switch_to("green")
        with pytest.raises(IllegalMonitorStateError):
            locks.unlock("k")


def test_lock_left_behind_is_free_for_others(blue: LocalCluster, green: LocalCluster) -> None:
    """A graceful switch closes a link with held locks, so that members release them."""
    with client_on(blue, green) as client, client_on(blue) as other:
        client.get_map("left-behind").blocking().lock("k")
        client.switch_to("green")
        assert other.get_map("left-behind").blocking().try_lock("k", timeout=10) is True
        eventually(lambda: client.status().clusters[0].state == "standby")
        other.get_map("left-behind").blocking().unlock("k")


def test_unlock_of_a_future_after_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        locks = client.get_map("future-locks")
        locks.lock("k").result()
        client.switch_to("green")
        with pytest.raises(ClusterChanged):
            locks.unlock("k").result()


@pytest.mark.parametrize(
    "read", [lambda buffer, at: buffer.read_one(at), lambda buffer, at: buffer.read_many(at, 0, 1)]
)
@pytest.mark.parametrize("source", ["add", "add_all", "head_sequence", "tail_sequence"])
def test_sequence_fails_on_another_cluster(
    source: str, read: Callable[[Any, int], Any], blue: LocalCluster, green: LocalCluster
) -> None:
    with client_on(blue, green) as client:
        name = f"sequences-{source}-{id(read)}"
        buffer = client.get_ringbuffer(name).blocking()
        buffer.add("on blue")
        arguments = {"add": ("again",), "add_all": (["again"], 0)}.get(source, ())
        sequence = getattr(buffer, source)(*arguments)
        read(buffer, sequence)
        client.switch_to("green")
        with pytest.raises(ClusterChanged, match=name):
            read(buffer, sequence)
        buffer.add("on green")
        assert buffer.read_one(buffer.head_sequence()) == "on green"


def test_sequences_are_known_by_thread(blue: LocalCluster, green: LocalCluster) -> None:
    """What another thread adds on the new cluster makes no sequence of the former one valid."""
    with client_on(blue, green) as client:
        buffer = client.get_ringbuffer("consumer").blocking()
        for item in ("a", "b", "c"):
            buffer.add(item)
        moved, go_on = threading.Event(), threading.Event()
        errors: list[BaseException] = []

        def consume() -> None:
            at = buffer.head_sequence()
            assert buffer.read_one(at) == "a"
            moved.set()
            go_on.wait(10)
            for _ in range(2):
                try:
                    buffer.read_one(at + 1)
                except ClusterChanged as error:
                    errors.append(error)
            assert buffer.read_one(buffer.head_sequence()) == "x"

        consumer = BackgroundCall(consume)
        moved.wait(10)
        client.switch_to("green")
        buffer.add("x")
        buffer.add("y")
        go_on.set()
        assert consumer.wait().error is None
        assert len(errors) == 2


def test_sequence_works_on_the_same_data(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        buffer = client.get_ringbuffer("same-data").blocking()
        sequence = buffer.add("kept")
        client.switch_to("green")
        client.switch_to("blue")
        assert buffer.read_one(sequence) == "kept"


def test_sequence_fails_after_a_restart(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, _ = pair
    with client_on(blue, try_count=100, wait_timeout=30.0, health_check_interval=0) as client:
        buffer = client.get_ringbuffer("restarted").blocking()
        sequence = buffer.add("lost")
        blue.restart()
        with pytest.raises(ClusterChanged):
            buffer.read_one(sequence)
