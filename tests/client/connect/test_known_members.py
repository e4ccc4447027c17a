"""A cluster is found again by the members that it had at the last connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.dns import Failure, LoopbackDns, default_resolver
from tests.support.faults import TOLERANT, Recorder, cluster_of
from tests.support.waiting import eventually


@contextmanager
def connected(*clusters: tuple[str, list[str]], **options: Any) -> Iterator[tuple[Any, Recorder]]:
    """A client with one connection to each cluster, by the first of its members only."""
    failover = FailoverConfig()
    known_members = options.pop("known_members", True)
    for label, addresses in clusters:
        failover.add_cluster(label, addresses[:1], smart_routing=False, known_members=known_members)
    client = HazelcastClient(failover, **{**TOLERANT, **options})
    told = Recorder(client)
    with client:
        if options.get("standby") != "cold":
            eventually(lambda: all(c.state in ("active", "standby") for c in client.status().clusters))
        yield client, told


@pytest.fixture
def two(start_cluster: StartCluster) -> LocalCluster:
    """A cluster of two members."""
    return start_cluster("blue", members=2)


def test_without_another_cluster(two: LocalCluster) -> None:
    """After the configured member was killed the client uses the other one, with the same data."""
    with connected(("blue", two.addresses)) as (client, _):
        numbers = client.get_map("known").blocking()
        eventually(lambda: cluster_of(client, "blue").members == 2)
        partitions = client.partition_service
        # Both own some: each has the other's backups.
        eventually(lambda: len({partitions.get_partition_owner(p) for p in range(100)} - {None}) == 2, 20.0)
        numbers.put_all({number: number for number in range(50)})
        two.kill(0)
        assert numbers.get_all(range(50)) == {number: number for number in range(50)}
        assert client.status().current_cluster == "blue"


def test_with_another_cluster(two: LocalCluster, green: LocalCluster) -> None:
    """The client does not switch while its cluster has a known member."""
    with connected(("blue", two.addresses), ("green", green.addresses)) as (client, told):
        numbers = client.get_map("known-standby").blocking()
        numbers.set("k", "of blue")
        eventually(lambda: cluster_of(client, "blue").members == 2)
        two.kill(0)
        eventually(lambda: client.status().epoch == 2)
        assert numbers.get("k") == "of blue"
        assert not told.of(ClusterSwitched)


def test_a_standby(blue: LocalCluster, start_cluster: StartCluster) -> None:
    """A standby is reconnected by the remaining member."""
    green = start_cluster("green", members=2)
    with connected(("blue", blue.addresses), ("green", green.addresses)) as (client, told):
        eventually(lambda: cluster_of(client, "green").members == 2)
        green.kill(0)
        eventually(lambda: told.of(ClusterLost))
        eventually(lambda: cluster_of(client, "green").state == "standby", 5.0)


def test_failback(two: LocalCluster, green: LocalCluster) -> None:
    """Failback connects by the remaining member."""
    with connected(("blue", two.addresses), ("green", green.addresses), standby="cold") as (client, _):
        eventually(lambda: cluster_of(client, "blue").members == 2)
        client.switch_to("green")
        eventually(lambda: cluster_of(client, "blue").members == 0)
        two.kill(0)
        client.reset()
        assert client.status().current_cluster == "blue"


def test_disabled(two: LocalCluster, green: LocalCluster) -> None:
    """With known_members=False only configured addresses are used."""
    addresses = ("blue", two.addresses), ("green", green.addresses)
    with connected(*addresses, known_members=False) as (client, _):
        eventually(lambda: cluster_of(client, "blue").members == 2)
        two.kill(0)
        eventually(lambda: client.status().current_cluster == "green")


def test_members_of_another_cluster_are_rejected(two: LocalCluster) -> None:
    """A known member must belong to the same cluster as before."""
    with connected(("blue", two.addresses)) as (client, _):
        eventually(lambda: cluster_of(client, "blue").members == 2)
        two.kill()
        two.restart(1)
        eventually(lambda: "another cluster" in (cluster_of(client, "blue").last_error or ""), 10.0)
        with pytest.raises(ClientOfflineException, match="another cluster"):
            client.get_map("known-other").blocking().get("k")
        two.restart(0)
        eventually(lambda: client.status().state == "connected", 10.0)


@pytest.mark.parametrize(
    "reply", [None, Failure.NXDOMAIN], ids=["address of the dead member", "no such name"]
)
def test_by_name(reply: Failure | None, two: LocalCluster) -> None:
    """Known members are tried once the name's address has failed, or the name does not resolve."""
    name = "known.test"
    failover = FailoverConfig()
    failover.add_cname_cluster("blue", name, two.members[0].port, smart_routing=False)
    with LoopbackDns() as dns, default_resolver(dns, lifetime=0.5):
        dns.answer(name, "127.0.0.1")
        with HazelcastClient(failover, **TOLERANT) as client:
            eventually(lambda: cluster_of(client, "blue").members == 2)
            if reply is not None:
                dns.reply(name, reply)
            two.kill(0)
            eventually(lambda: client.status().epoch == 2)
            assert client.status().current_cluster == "blue"
