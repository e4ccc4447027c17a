"""A change of the system time makes no timeout end early or late."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hazelcast
import pytest
from hazelcast.errors import OperationTimeoutError, TransactionError

from flask_hazelcast_failover.client._official.transport.clock import monotonic_methods
from flask_hazelcast_failover.client._official.versions import _CLIENT_PARTS
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.clock import HOUR, set_clock
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.waiting import eventually

# All official methods that read the wall clock.
USES_MONOTONIC_CLOCK = {
    "connection.py _HeartbeatManager.start",
    "connection.py _WaitStrategy.reset",
    "connection.py _WaitStrategy.sleep",
    "cp.py _SessionState.__init__",
    "cp.py _SessionState.is_valid",
    "invocation.py InvocationService._notify",
    "invocation.py InvocationService._notify_error",
    "invocation.py InvocationService._start_clean_resources_timer",
    "invocation.py InvocationService.invoke",
    "near_cache.py DataRecord.__init__",
    "near_cache.py DataRecord.is_expired",
    "near_cache.py NearCache.__getitem__",
    "proxy/cp/fenced_lock.py FencedLock._do_try_lock",
    "proxy/cp/semaphore.py SessionAwareSemaphore._do_try_acquire",
    "proxy/flake_id_generator.py _Block.__init__",
    "proxy/flake_id_generator.py _Block.next_id",
    "reactor.py AsyncoreConnection.handle_read",
    "reactor.py AsyncoreConnection.handle_write",
    "reactor.py _AbstractLoop._check_timers",
    "reactor.py _AbstractLoop.add_timer",
    "transaction.py Transaction._check_timeout",
}
SHOWN_TO_USERS = {
    "near_cache.py NearCache.__init__",
    "proxy/reliable_topic.py ReliableTopic.publish",
    "proxy/reliable_topic.py ReliableTopic.publish_all",
    "reactor.py AsyncoreConnection.handle_connect",
    "statistics.py Statistics._add_client_attributes",
    "statistics.py Statistics._collect_and_send_stats",
    "statistics.py Statistics._register_gauges",
    "transaction.py Transaction.begin",
    "util.py .current_time",
    "util.py .current_time_in_millis",
}
# The asyncio client, which this package does not use.
OF_ASYNCIO = "internal/"

SET = pytest.mark.parametrize("by", [-HOUR, HOUR], ids=["back", "forward"])


def wall_clock_readers() -> Iterator[str]:
    """The methods of the official client that read the wall clock, with their files."""
    package = Path(hazelcast.__file__).parent
    for file in package.rglob("*.py"):
        name = file.relative_to(package).as_posix()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        holders: list[tuple[str, Any]] = [
            ("", tree),
            *((node.name, node) for node in tree.body if isinstance(node, ast.ClassDef)),
        ]
        for owner, holder in holders:
            for method in (node for node in holder.body if isinstance(node, ast.FunctionDef)):
                calls = (node.func for node in ast.walk(method) if isinstance(node, ast.Call))
                if any(ast.unparse(call) in CLOCKS for call in calls) and not name.startswith(OF_ASYNCIO):
                    yield f"{name} {owner}.{method.name}"


CLOCKS = {"current_time", "current_time_in_millis", "time.time", "time.time_ns", "datetime.datetime.now"}


def test_all_readers_of_the_wall_clock_are_known() -> None:
    """When this fails, a new version of the official client reads the clock in another place: see what for."""
    assert set(wall_clock_readers()) == USES_MONOTONIC_CLOCK | SHOWN_TO_USERS


def test_every_patched_method_is_in_the_list_of_parts() -> None:
    wrapped = {"_invocation_service.invoke"}
    replaced = {f"{path}.{name}" for path, methods in monotonic_methods().items() for name in methods}
    assert replaced - set(_CLIENT_PARTS) == set() and wrapped <= replaced


def official_of(client: Any) -> Any:
    """The official client that is open."""
    (official,) = client.control.connected_clusters().values()
    return official


@pytest.mark.timing
@SET
def test_a_restarted_member_is_reconnected(
    by: float, start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster("blue", 2)
    with client_on(cluster, operation_timeout=20.0, health_check_interval=0) as client:
        numbers = client.get_map("numbers").blocking()
        numbers.set(0, 0)
        set_clock(monkeypatch, by)
        cluster.members[1].kill()
        began = fair_time()
        for number in range(50):
            numbers.set(number, number)
        assert fair_time() - began < 10
        cluster.restart(1)
        eventually(lambda: len(official_of(client).connected_members()) == 2, 20.0)
        assert client.status().epoch == 1


def test_heartbeats_keep_a_live_connection(
    start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"heartbeat_interval": 0.2, "heartbeat_timeout": 5.0}
    with client_on(start_cluster("blue"), health_check_interval=0, client_options=options) as client:
        manager = official_of(client)._connection_manager._heartbeat_manager
        check, checks = manager._check_connection, []

        def counted(*args: Any) -> None:
            check(*args)
            checks.append(args)

        manager._check_connection = counted
        set_clock(monkeypatch, HOUR)
        eventually(lambda: len(checks) > 3)
        assert client.status().epoch == 1 and client.status().state == "connected"


def test_heartbeats_close_a_dead_connection(
    pair: tuple[LocalCluster, LocalCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"heartbeat_interval": 0.2, "heartbeat_timeout": 1.0}
    with Relay(pair[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", pair[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0, client_options=options) as client:
            set_clock(monkeypatch, -HOUR)
            relay.freeze()
            eventually(lambda: client.status().current_cluster == "green", 10.0)


@SET
def test_invocation_timeout(by: float, blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"invocation_timeout": 1.0, "invocation_retry_pause": 0.1}
    with client_on(blue, client_options=options) as client:
        official = official_of(client)
        official._invocation_service._should_retry = lambda *_: True
        locks = official.get_map("clock-locks").blocking()
        unlocking = BackgroundCall(lambda: locks.unlock("nobody's"))
        set_clock(monkeypatch, by)
        began = time.monotonic()
        assert isinstance(unlocking.wait().error, OperationTimeoutError)
        assert time.monotonic() - began > 0.5


@SET
def test_operation_backup_timeout(
    by: float, start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = start_cluster("blue", 2)
    options = {"operation_backup_timeout": 1.0}
    with client_on(cluster, client_options=options, health_check_interval=0) as client:
        numbers = client.get_map("numbers").blocking()
        key = eventually(lambda: [n for n in range(1, 100) if is_at(client, n, cluster.addresses[0])])[0]
        numbers.set(key, 0)
        cluster.members[1].freeze()
        setting = BackgroundCall(lambda: numbers.set(key, 1))
        pending = official_of(client)._invocation_service._pending
        eventually(lambda: any(invocation.pending_response for invocation in list(pending.values())))
        set_clock(monkeypatch, by)
        began = time.monotonic()
        assert setting.wait(5).error is None
        assert time.monotonic() - began > 0.4


def is_at(client: Any, key: int, address: str) -> bool:
    """Whether the member at this address owns the key."""
    owner = client.partition_service.get_partition_owner(client.partition_service.get_partition_id(key))
    members = client.cluster_service.get_members(lambda member: member.uuid == owner)
    return [f"{member.address.host}:{member.address.port}" for member in members] == [address]


@pytest.mark.parametrize("limit", ["time_to_live", "max_idle"])
def test_near_cache_entries_expire_no_later(
    limit: str, blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"clock-near-{limit}"
    near = {name: {limit: 1.0, "invalidate_on_change": False, "eviction_policy": "NONE"}}
    with client_on(blue) as other, client_on(blue, client_options={"near_caches": near}) as client:
        theirs, ours = other.get_map(name).blocking(), client.get_map(name).blocking()
        theirs.set("key", "old")
        assert ours.get("key") == "old"
        theirs.set("key", "new")
        assert ours.get("key") == "old"
        set_clock(monkeypatch, -HOUR)
        eventually(lambda: ours.get("key") == "new")


def test_near_cache_entries_expire_no_earlier(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    near = {"clock-near": {"time_to_live": 60.0, "max_idle": 60.0, "invalidate_on_change": False}}
    with client_on(blue, client_options={"near_caches": near}) as client:
        cached = client.get_map("clock-near").blocking()
        cached.set("key", "value")
        cached.get("key")
        (cache,) = official_of(client)._near_cache_manager.list_near_caches()
        before = cache.get_statistics()
        set_clock(monkeypatch, HOUR)
        assert cached.get("key") == "value"
        assert cache.get_statistics()["hits"] == before["hits"] + 1
        assert abs(before["creation_time"] + HOUR - time.time()) < 60  # users see the wall clock


def test_prefetched_ids_stay_valid_for_prefetch_validity(
    blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"clock-ids": {"prefetch_count": 100_000, "prefetch_validity": 3.0}}
    with client_on(blue, client_options={"flake_id_generators": kept}) as client:
        new_id: Callable[[], int] = client.get_flake_id_generator("clock-ids").blocking().new_id
        first = new_id()
        step = new_id() - first
        set_clock(monkeypatch, HOUR)
        assert new_id() == first + 2 * step
        set_clock(monkeypatch, -2 * HOUR)
        given = first + 2 * step

        def is_of_another_batch() -> bool:
            nonlocal given
            before, given = given, new_id()
            return given != before + step

        eventually(is_of_another_batch, 10.0)


def test_a_transaction_times_out_no_earlier(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_on(blue) as client:
        transaction = client.new_transaction(timeout=60)
        transaction.begin()
        transaction.get_map("clock-transactions").set("key", 1)
        set_clock(monkeypatch, HOUR)
        transaction.commit()
        assert client.get_map("clock-transactions").blocking().get("key") == 1


def test_a_transaction_times_out_no_later(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_on(blue) as client:
        transaction = client.new_transaction(timeout=0.2)
        transaction.begin()
        over = time.monotonic() + 0.3
        set_clock(monkeypatch, -HOUR)
        eventually(lambda: time.monotonic() > over)
        with pytest.raises(TransactionError, match="has timed out"):
            transaction.commit()
