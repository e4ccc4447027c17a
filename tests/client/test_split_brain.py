"""A member that its cluster removes and that joins again causes no switch."""

from typing import Any
from uuid import UUID

import pytest

from flask_hazelcast_failover.client.events import ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.client.test_rolling_restart import UNHURRIED, assert_events_come_once
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.faults import Recorder, cluster_of
from tests.support.listeners import Listening
from tests.support.operations import reaches
from tests.support.waiting import eventually

# A member that is silent for 15 seconds is removed, which on a busy machine happens to the frozen one only; a member on its own looks for the others every second.
HASTY: dict[str, Any] = {
    "partition_count": 11,
    "properties": {
        "hazelcast.heartbeat.interval.seconds": "1",
        "hazelcast.max.no.heartbeat.seconds": "15",
        "hazelcast.merge.first.run.delay.seconds": "1",
        "hazelcast.merge.next.run.delay.seconds": "1",
    },
}
# The frozen member is impaired after some six seconds. The others, which then merge on a busy machine, are not.
PATIENT: dict[str, Any] = {"health_check_timeout": 2.0, "health_check_failures": 20, **UNHURRIED}
OLD, NEW = (dict.fromkeys(range(300), word) for word in ("old", "new"))


def sizes(cluster: LocalCluster) -> list[int]:
    """The size of the cluster of each member, as it last logged it."""
    return [int(member.log().rpartition("Members {size:")[2].partition(",")[0]) for member in cluster.members]


def member_with_view_listener(client: Any) -> UUID:
    """The member that reports the members and the owners of partitions to the client."""
    connection = client._runtime.route.link.client._cluster_view_listener._listener_added_connection
    reporter: UUID = connection.remote_uuid
    return reporter


def move_view_listener(client: Any, member: UUID) -> None:
    """Make a member report the other members to the client."""
    others = [one.uuid for one in client.cluster_service.get_members() if one.uuid != member]

    def is_moved() -> bool:
        client._runtime.route.link.client.use_other_member_for_view(others)
        return member_with_view_listener(client) == member

    eventually(is_moved)


@pytest.mark.timeout(240)  # more than its waits together
@pytest.mark.parametrize("reports", [False, True], ids=["another", "the one with the view listener"])
def test_split_brain(reports: bool, start_cluster: StartCluster, green: LocalCluster) -> None:
    """A member that was removed and has merged changes neither the cluster, nor the data, nor the events of a client."""
    cluster = start_cluster("split", members=3, **HASTY)
    with client_on(cluster, green, **PATIENT) as client:
        recorder = Recorder(client)
        eventually(lambda: reaches(client, 3), within=20)
        kept = client.get_map("kept").blocking()
        kept.put_all(OLD)
        heard = Listening(client)
        changed: list[int] = []

        def record(event: Any) -> None:
            changed.append(event.key)

        # put_all is reported as added, also for keys that exist.
        kept.add_entry_listener(added_func=record, updated_func=record)
        ids = {member.address.port: member.uuid for member in client.cluster_service.get_members()}
        # The oldest member removes others. One with the view listener reports itself only once it is thawed.
        young = cluster.members[1:]
        frozen = next(
            (one for one in young if (ids[one.port] == member_with_view_listener(client)) is reports),
            young[0],
        )
        if reports:
            move_view_listener(client, ids[frozen.port])
        cluster.freeze(frozen)
        eventually(lambda: reaches(client, 2, ids[frozen.port]), within=60)
        kept.put_all(NEW)
        cluster.thaw(frozen)
        eventually(lambda: "Members {size:1," in frozen.log(), within=20, message="a cluster of its own")
        eventually(lambda: sizes(cluster) == [3, 3, 3], within=60)
        # A member that is merging may not answer a new connection, which then times out after five seconds.
        eventually(lambda: reaches(client, 3, ids[frozen.port]), within=40)
        # Members hand partitions around for a moment after they have merged.
        eventually(lambda: kept.get_all(list(NEW)) == NEW and kept.size() == len(NEW), within=20)
        assert_events_come_once(heard)
        changed.clear()
        kept.put_all(OLD)  # each member owns some of them
        eventually(lambda: sorted(changed) == list(OLD))
        assert not recorder.of(ClusterLost) and not recorder.of(ClusterSwitched)
        assert (client.status().epoch, cluster_of(client, "split").restarted) == (1, False)
