"""The objects of the CP subsystem follow the client; what was held in them does not."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hazelcast.errors import IllegalMonitorStateError, IllegalStateError

from flask_hazelcast_failover import ClusterChanged, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, start_together
from tests.support.calls import BackgroundCall
from tests.support.clients import QUICK, client_on

LAST_WITH_CP = "5.3.8"
CP = {
    "cp-subsystem": {
        "cp-member-count": 3,
        "group-size": 3,
        # Leaders are found sooner than by default.
        "raft-algorithm": {
            "leader-election-timeout-in-millis": 500,
            "leader-heartbeat-period-in-millis": 1000,
        },
        "semaphores": {"free-*": {"jdk-compatible": True}},
    }
}


@pytest.fixture(scope="module")
def consistent() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    first, second = (LocalCluster(name, 3, version=LAST_WITH_CP, config=CP) for name in ("blue", "green"))
    start_together(first, second)
    with first, second:
        yield first, second


@pytest.fixture(scope="module")
def client(consistent: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with client_on(*consistent, health_check_interval=0, operation_timeout=30.0) as connected:
        yield connected


@pytest.fixture(autouse=True)
def on_blue(client: Any) -> None:
    client.switch_to("blue")


def test_numbers_references_and_latches(client: Any) -> None:
    number = client.cp_subsystem.get_atomic_long("n").blocking()
    reference = client.cp_subsystem.get_atomic_reference("r").blocking()
    latch = client.cp_subsystem.get_count_down_latch("l").blocking()
    assert number.add_and_get(5) == 5
    reference.set("blue")
    assert latch.try_set_count(1) is True
    client.switch_to("green")
    assert number.get() == 0
    assert reference.get() is None
    assert latch.get_count() == 0
    assert client.cp_subsystem.get_atomic_long("n").increment_and_get().result() == 1


def test_own_timeout_of_a_latch(
    consistent: tuple[LocalCluster, LocalCluster],
) -> None:
    with client_on(consistent[0], health_check_interval=0, operation_timeout=1.0) as client:
        latch = client.cp_subsystem.get_count_down_latch("late").blocking()
        latch.try_set_count(1)
        assert latch.await_latch(1.8) is False
        waiting = BackgroundCall(lambda: latch.await_latch(20))
        latch.count_down()
        assert waiting.wait().result is True


def test_lock_works_as_officially(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("official").blocking()
    fence = lock.lock()
    assert fence != lock.INVALID_FENCE
    assert lock.lock() == fence
    assert lock.is_locked_by_current_thread() and lock.get_lock_count() == 2
    assert BackgroundCall(lock.try_lock).wait().result == lock.INVALID_FENCE
    lock.unlock()
    lock.unlock()
    with pytest.raises(IllegalMonitorStateError):
        lock.unlock()


def test_unlock_after_a_switch(client: Any) -> None:
    lock = client.cp_subsystem.get_lock("held").blocking()
    lock.lock()
    client.switch_to("green")
    with pytest.raises(ClusterChanged, match="blue"):
        lock.unlock()
    assert lock.try_lock() != lock.INVALID_FENCE
    lock.unlock()


def test_lock_left_behind_is_free_for_others(
    client: Any, consistent: tuple[LocalCluster, LocalCluster]
) -> None:
    client.cp_subsystem.get_lock("left-behind").blocking().lock()
    client.switch_to("green")
    with client_on(consistent[0], health_check_interval=0) as other:
        lock = other.cp_subsystem.get_lock("left-behind").blocking()
        assert lock.try_lock(timeout=20) != lock.INVALID_FENCE
        lock.unlock()


def test_future_locks_for_its_caller(
    consistent: tuple[LocalCluster, LocalCluster],
) -> None:
    config = FailoverConfig()
    config.add_cluster("blue", consistent[0].addresses)
    client: Any = HazelcastClient(config, **QUICK | {"health_check_interval": 0, "operation_timeout": 30.0})
    lock = client.cp_subsystem.get_lock("asked-by-future")
    lock.lock().result()  # connects first, so it is sent by a thread of the client's own
    assert lock.is_locked_by_current_thread().result() is True
    lock.blocking().unlock()
    client.shutdown()


def test_semaphore_follows(client: Any) -> None:
    client.switch_to("blue")
    permits = client.cp_subsystem.get_semaphore(f"s-{uuid.uuid4().hex}").blocking()
    assert permits.init(2) is True
    permits.acquire()
    assert permits.available_permits() == 1
    permits.release()
    client.switch_to("green")
    assert permits.available_permits() == 0


def with_permits(client: Any, name: str) -> Any:
    """A semaphore that has three permits on each of the clusters. The client is on blue afterwards."""
    permits = client.cp_subsystem.get_semaphore(name).blocking()
    for label in ("green", "blue"):
        client.switch_to(label)
        permits.init(3)
    return permits


TAKEN: dict[str, Callable[[Any], object]] = {
    "acquire": lambda permits: permits.acquire(3),
    "try_acquire": lambda permits: permits.try_acquire(permits=3),
    "drain_permits": lambda permits: permits.drain_permits(),
    "one by one": lambda permits: [permits.acquire() for _ in range(3)],
}


@pytest.mark.parametrize("kind", ["bound", "free"])
@pytest.mark.parametrize("way", TAKEN)
def test_release_after_a_switch(client: Any, kind: str, way: str) -> None:
    permits = with_permits(client, f"{kind}-{way}")
    TAKEN[way](permits)
    client.switch_to("green")
    for _ in range(3):
        with pytest.raises(ClusterChanged, match="blue"):
            permits.release()
    assert permits.available_permits() == 3
    permits.acquire()
    permits.release()


def test_released_permits_have_no_affinity(client: Any) -> None:
    permits = with_permits(client, "bound-given-back")
    permits.acquire(2)
    permits.release()
    assert BackgroundCall(permits.release).wait().error is None  # any thread may
    assert permits.try_acquire(4) is False
    client.switch_to("green")
    with pytest.raises(IllegalStateError):
        permits.release()


def test_permits_left_behind_are_free_for_others(
    client: Any, consistent: tuple[LocalCluster, LocalCluster]
) -> None:
    with_permits(client, "bound-left-behind").acquire(3)
    client.switch_to("green")
    with client_on(consistent[0], health_check_interval=0) as other:
        permits = other.cp_subsystem.get_semaphore("bound-left-behind").blocking()
        assert permits.try_acquire(3, timeout=20) is True


def test_release_of_another_threads_permits(client: Any) -> None:
    """A thread cannot release what another one has acquired on a cluster that was left."""
    permits = with_permits(client, "free-threads")
    permits.acquire()
    client.switch_to("green")
    BackgroundCall(permits.acquire).wait()
    with pytest.raises(ClusterChanged):
        permits.release()
    assert permits.available_permits() == 2
    permits.release()  # what the other thread took here
    assert permits.available_permits() == 3


def test_sessionless_permits_outlive_a_connection(
    consistent: tuple[LocalCluster, LocalCluster],
) -> None:
    options = {"health_check_interval": 0, "operation_timeout": 30.0}
    with client_on(*consistent, standby="cold", **options) as client:
        permits = with_permits(client, "free-return")
        permits.acquire()
        client.switch_to("green")
        client.switch_to("blue")
        permits.release()
        assert permits.available_permits() == 3


@pytest.mark.parametrize("flavour", ["future", "blocking"])
def test_destroyed_objects_are_forgotten(client: Any, flavour: str) -> None:
    def kept() -> list[int]:
        official = [link.client.cp_subsystem._proxy_manager for link in client._runtime.engine.links.all()]
        affinity = client._runtime.operations.policy.affinity
        return [
            len(client._runtime.proxies._proxies),
            sum(len(link.proxy_keys()) + len(link.locks) for link in client._runtime.engine.links.all()),
            sum(len(one._lock_proxies) for one in official),
            len(affinity._locks) + len(affinity._permits._held),
        ]

    before = kept()
    lock = client.cp_subsystem.get_lock(f"destroyed-{flavour}")
    lock.blocking().lock()
    semaphore = client.cp_subsystem.get_semaphore(f"destroyed-{flavour}")
    assert semaphore.blocking().init(3) and semaphore.blocking().try_acquire(2)
    number = client.cp_subsystem.get_atomic_long(f"destroyed-{flavour}")
    assert number.blocking().increment_and_get() == 1
    for structure in (lock, semaphore, number):
        if flavour == "future":
            assert structure.destroy().result() is None
        else:
            assert structure.blocking().destroy() is None
    assert kept() == before
