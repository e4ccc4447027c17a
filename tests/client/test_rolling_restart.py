"""A rolling restart is no loss, and every listener receives the events that follow."""

import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from hazelcast.lifecycle import LifecycleState

from flask_hazelcast_failover.client.events import ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.faults import Load, Recorder, cluster_of
from tests.support.listeners import KINDS, Listening
from tests.support.operations import reaches
from tests.support.waiting import eventually

# Members migrate their partitions before they end, and report whether each partition has its backup.
ORDERLY: dict[str, Any] = {
    "properties": {"hazelcast.shutdownhook.policy": "GRACEFUL"},
    "partition_count": 11,
    "config": {
        "network": {"rest-api": {"enabled": True, "endpoint-groups": {"HEALTH_CHECK": {"enabled": True}}}}
    },
}
# A cluster that has just started may be slow: it must not be passed over for the other one.
UNHURRIED: dict[str, Any] = {"connect_timeout": 20.0, "wait_timeout": 30.0, "operation_timeout": 40.0}
ENTRIES = {number: str(number) for number in range(500)}

Restart = Callable[[LocalCluster, int], None]


def by_a_kill(cluster: LocalCluster, index: int) -> None:
    cluster.restart(index)


def by_another_member(cluster: LocalCluster, index: int) -> None:
    cluster.add_member()
    cluster.members[index].shut_down()


def is_safe(cluster: LocalCluster) -> bool:
    """Whether any member can be killed without a loss of data."""
    addresses = [member.address for member in cluster.members if member.alive]
    return all(map(_reports_safe, addresses))


def _reports_safe(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/hazelcast/health/cluster-safe", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except OSError:  # it is busy, or not ready yet
        return False


@pytest.mark.timeout(240)
@pytest.mark.parametrize("restart", [by_a_kill, by_another_member])
def test_rolling_restart(start_cluster: StartCluster, green: LocalCluster, restart: Restart) -> None:
    """A rolling restart under load fails no operation and loses no entry; each event is received once after it."""
    cluster = start_cluster("rolling", members=3, **ORDERLY)
    with client_on(
        cluster, green, health_check_failures=100, **UNHURRIED
    ) as client:  # no loss on a busy machine
        recorder = Recorder(client)
        states: list[str] = []
        joined: list[str] = []
        left: list[str] = []
        client.lifecycle_service.add_listener(states.append)
        client.cluster_service.add_listener(
            lambda member: joined.append(str(member.uuid)), lambda member: left.append(str(member.uuid))
        )
        first = {str(member.uuid) for member in client.cluster_service.get_members()}
        kept = client.get_map("kept").blocking()
        kept.put_all(ENTRIES)
        heard = Listening(client)
        changed: list[int] = []

        def record(event: Any) -> None:
            changed.append(event.key)

        # put_all is reported as added, also for keys that exist.
        kept.add_entry_listener(added_func=record, updated_func=record)
        with Load(client, "load", threads=1) as load:
            for index in range(3):
                eventually(lambda: is_safe(cluster), within=60)
                restart(cluster, index)
                eventually(lambda: len(joined) == len(left) == index + 1)  # noqa: B023
                eventually(lambda: reaches(client, 3), within=20)
                load.wait_for_progress()
        assert load.errors == []
        assert kept.get_all(list(ENTRIES)) == ENTRIES
        assert set(left) == first
        assert (client.status().epoch, cluster_of(client, "rolling").restarted) == (1, False)
        assert not recorder.of(ClusterLost) and not recorder.of(ClusterSwitched) and states == []
        assert_events_come_once(heard)
        kept.put_all(ENTRIES)  # each member owns some of them
        eventually(lambda: sorted(changed) == list(ENTRIES))
        cluster.kill()
        eventually(lambda: states == [LifecycleState.DISCONNECTED, LifecycleState.CONNECTED])
        eventually(lambda: sorted(left) == sorted(first | set(joined[:3])))
        heard.assert_all_receive()


def assert_events_come_once(heard: Listening) -> None:
    """A repeated event would arrive before the next event of its kind."""
    heard.clear()
    for times in (1, 2):
        for _, cause, _ in KINDS.values():
            cause(heard.client)
        eventually(lambda: all(len(events) >= times for events in heard.events.values()))  # noqa: B023
    # Each member reports the events of a multi map, also to the official client.
    once = {kind: events for kind, events in heard.events.items() if not kind.startswith("MultiMap")}
    assert {kind: len(events) for kind, events in once.items()} == dict.fromkeys(once, 2)
