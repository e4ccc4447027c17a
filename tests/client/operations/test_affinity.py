"""What belongs to a cluster that was left fails clearly: sections, held locks, ring buffer sequences."""

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


def test_a_section_ends_with_a_move(blue: LocalCluster, green: LocalCluster) -> None:
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


def test_a_section_ends_although_the_client_has_come_back(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        numbers = client.get_map("section-aba").blocking()
        with client.same_cluster():
            numbers.get("a")
            client.switch_to("green")
            client.switch_to("blue")
            with pytest.raises(ClusterChanged):
                numbers.get("a")


def test_a_section_ends_with_a_loss(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:
        numbers = client.get_map("section").blocking()
        with client.same_cluster():
            numbers.get("a")
            blue.kill()
            with pytest.raises(ClusterChanged):
                numbers.get("a")


def test_a_section_binds_its_thread_only_and_the_outermost_counts(
    blue: LocalCluster, green: LocalCluster
) -> None:
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
def test_a_lock_is_lost_with_its_cluster(
    which: int, key: Any, blue: LocalCluster, green: LocalCluster
) -> None:
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


def test_a_lock_that_was_given_back_is_no_bond(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        locks = client.get_map("given-back").blocking()
        locks.lock("k")
        assert locks.try_lock("k") is True  # by the same thread: counts twice
        locks.unlock("k")
        locks.unlock("k")
        client.switch_to("green")
        with pytest.raises(IllegalMonitorStateError):
            locks.unlock("k")


def test_a_lock_that_was_not_got_is_no_bond(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        locks = client.get_map("not-got").blocking()
        BackgroundCall(lambda: locks.lock("k")).wait()
        assert locks.try_lock("k") is False
        client.switch_to("green")
        with pytest.raises(IllegalMonitorStateError):
            locks.unlock("k")


def test_a_lock_left_behind_is_not_kept_from_others(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client, client_on(blue) as other:
        client.get_map("left-behind").blocking().lock("k")
        client.switch_to("green")
        assert other.get_map("left-behind").blocking().try_lock("k", timeout=10) is True
        eventually(lambda: client.status().clusters[0].state == "standby")
        other.get_map("left-behind").blocking().unlock("k")


def test_a_future_lock_is_lost_as_well(blue: LocalCluster, green: LocalCluster) -> None:
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
def test_a_sequence_is_of_no_use_elsewhere(
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


def test_what_another_thread_adds_elsewhere_makes_no_old_sequence_good(
    blue: LocalCluster, green: LocalCluster
) -> None:
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


def test_a_sequence_goes_on_where_the_data_are_the_same(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        buffer = client.get_ringbuffer("same-data").blocking()
        sequence = buffer.add("kept")
        client.switch_to("green")
        client.switch_to("blue")
        assert buffer.read_one(sequence) == "kept"


def test_sequences_are_lost_with_a_restarted_cluster(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, _ = pair
    with client_on(blue, try_count=100, wait_timeout=30.0, health_check_interval=0) as client:
        buffer = client.get_ringbuffer("restarted").blocking()
        sequence = buffer.add("lost")
        blue.restart()
        with pytest.raises(ClusterChanged):
            buffer.read_one(sequence)
