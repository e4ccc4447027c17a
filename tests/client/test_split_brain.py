"""A member that its cluster takes for dead, and that comes back to it, takes the client nowhere."""

from typing import Any
from uuid import UUID

import pytest

from flask_hazelcast_failover.client.events import ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.client.api.test_listeners import Heard
from tests.client.test_rolling_restart import hear_each_event_once
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.faults import Recorder, cluster_of
from tests.support.operations import reaches
from tests.support.waiting import eventually

# A member that is silent for five seconds is put out; one that finds itself alone looks for the others every second.
HASTY: dict[str, Any] = {
    "partition_count": 11,
    "properties": {
        "hazelcast.heartbeat.interval.seconds": "1",
        "hazelcast.max.no.heartbeat.seconds": "5",
        "hazelcast.merge.first.run.delay.seconds": "1",
        "hazelcast.merge.next.run.delay.seconds": "1",
    },
}
# A member that is silent for two seconds does not answer; the others have time for their work.
WATCHFUL: dict[str, Any] = {"health_check_timeout": 1.0, "health_check_failures": 5}
OLD, NEW = (dict.fromkeys(range(300), word) for word in ("old", "new"))


def sizes(cluster: LocalCluster) -> list[int]:
    """How many members the cluster of each member has, as it last said."""
    return [int(member.log().rpartition("Members {size:")[2].partition(",")[0]) for member in cluster.members]


def who_tells_of_members(client: Any) -> UUID:
    """The member that the client hears from who is a member, and who owns which partition."""
    connection = client._route.link.client._cluster_view_listener._listener_added_connection
    told_by: UUID = connection.remote_uuid
    return told_by


def hear_from(client: Any, member: UUID) -> None:
    """Have a member tell the client of the others."""
    others = [one.uuid for one in client.cluster_service.get_members() if one.uuid != member]

    def is_so() -> bool:
        client._route.link.client.hear_from_others(than=others)
        return who_tells_of_members(client) == member

    eventually(is_so)


@pytest.mark.parametrize("tells", [False, True], ids=["another", "the one that tells of members"])
def test_split_brain(tells: bool, start_cluster: StartCluster, green: LocalCluster) -> None:
    """A member that was put out and has merged leaves the client where it is, with the data and the events of there."""
    cluster = start_cluster("split", members=3, **HASTY)
    with client_on(cluster, green, operation_timeout=30.0, **WATCHFUL) as client:
        told = Recorder(client)
        eventually(lambda: reaches(client, 3))
        kept = client.get_map("kept").blocking()
        kept.put_all(OLD)
        heard = Heard(client)
        changed: list[int] = []

        def hear(event: Any) -> None:
            changed.append(event.key)

        # What is put with many others is told as added, whatever was there.
        kept.add_entry_listener(added_func=hear, updated_func=hear)
        ids = {member.address.port: member.uuid for member in client.cluster_service.get_members()}
        # The oldest decides who is put out. One that tells of members tells of itself alone once it goes on.
        young = cluster.members[1:]
        frozen = next(
            (one for one in young if (ids[one.port] == who_tells_of_members(client)) is tells), young[0]
        )
        if tells:
            hear_from(client, ids[frozen.port])
        cluster.freeze(frozen)
        eventually(lambda: reaches(client, 2, ids[frozen.port]), within=20)
        kept.put_all(NEW)
        cluster.thaw(frozen)
        eventually(lambda: "Members {size:1," in frozen.log(), within=20, message="a cluster of its own")
        eventually(lambda: sizes(cluster) == [3, 3, 3], within=20)
        # A member that is merging may leave a connection unanswered, which is given up after five seconds.
        eventually(lambda: reaches(client, 3, ids[frozen.port]), within=40)
        assert kept.get_all(list(NEW)) == NEW and kept.size() == len(NEW)
        hear_each_event_once(heard)
        changed.clear()
        kept.put_all(OLD)  # each member owns some of them
        eventually(lambda: sorted(changed) == list(OLD))
        assert not told.of(ClusterLost) and not told.of(ClusterSwitched)
        assert (client.status().epoch, cluster_of(client, "split").restarted) == (1, False)
