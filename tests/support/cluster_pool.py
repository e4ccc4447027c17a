"""A pool of clusters that tests may kill, freeze and restart: a member takes longer to start than most tests run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from hazelcast.client import HazelcastClient

from flask_hazelcast_failover.testing import LocalCluster, MemberState, start_together


class ClusterSpec(NamedTuple):
    """The name of a cluster and the number of its members."""

    name: str
    members: int = 1
    lite_members: int = 0


class ClusterPool:
    """Running clusters that no test uses at the moment, at most one for each spec."""

    def __init__(self) -> None:
        self._idle: dict[ClusterSpec, LocalCluster] = {}

    @contextmanager
    def lease(self, *specs: ClusterSpec) -> Iterator[tuple[LocalCluster, ...]]:
        """Give running clusters without data, from the pool or started together; take them back afterwards."""
        clusters = tuple(
            self._idle.pop(spec) if spec in self._idle else LocalCluster(**spec._asdict()) for spec in specs
        )
        start_together(*(cluster for cluster in clusters if not cluster.members))
        for cluster in clusters:
            cluster.thaw()
        with ExitStack() as leases:
            for spec, cluster in zip(specs, clusters, strict=True):
                leases.callback(self._take_back, spec, cluster)
            yield clusters

    def close(self) -> None:
        """Stop the clusters of the pool."""
        for cluster in self._idle.values():
            cluster.stop()

    def _take_back(self, spec: ClusterSpec, cluster: LocalCluster) -> None:
        """Keep a cluster whose members all run, without its data; stop any other."""
        members = cluster.members
        size = spec.members + spec.lite_members
        is_complete = len(members) == size and all(member.alive for member in members)
        if not is_complete or spec in self._idle:
            cluster.stop()
            return
        if any(member.state is MemberState.FROZEN for member in members):
            cluster.thaw()
        _delete_data(cluster)
        if size == 1:  # a lone member can be frozen while it is idle: no other member takes it for dead
            cluster.freeze()
        self._idle[spec] = cluster


def warm_up(cluster: LocalCluster) -> None:
    """Use a cluster once: the first use takes members longer than any later one."""
    with _client_of(cluster) as client:
        entries: Any = client.get_map("warm-up").blocking()
        listener = entries.add_entry_listener(include_value=True, added_func=lambda event: None)
        entries.put("key", "value", 60.0)
        entries.entry_set()
        entries.remove_entry_listener(listener)
        entries.destroy()


def _delete_data(cluster: LocalCluster) -> None:
    with _client_of(cluster) as client:
        for structure in client.get_distributed_objects():
            structure.destroy()


@contextmanager
def _client_of(cluster: LocalCluster) -> Iterator[HazelcastClient]:
    client = HazelcastClient(
        cluster_name=cluster.name, cluster_members=cluster.addresses, cluster_connect_timeout=10.0
    )
    try:
        yield client
    finally:
        client.shutdown()
