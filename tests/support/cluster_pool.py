"""Clusters that tests may harm, lent to one after the other: a member takes longer to start than most tests run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from hazelcast.client import HazelcastClient

from flask_hazelcast_failover.testing import LocalCluster, MemberState, start_together


class Wanted(NamedTuple):
    """A cluster by its name, with so many members, and lite ones on top."""

    name: str
    members: int = 1
    lite_members: int = 0


class Stock:
    """Running clusters that nobody has at the moment, one of a kind."""

    def __init__(self) -> None:
        self._kept: dict[Wanted, LocalCluster] = {}

    @contextmanager
    def lent(self, *wanted: Wanted) -> Iterator[tuple[LocalCluster, ...]]:
        """Give running clusters without data, and take them back; those that are not in stock are started at once."""
        clusters = tuple(
            self._kept.pop(one) if one in self._kept else LocalCluster(**one._asdict()) for one in wanted
        )
        start_together(*(cluster for cluster in clusters if not cluster.members))
        for cluster in clusters:
            cluster.thaw()
        with ExitStack() as borrowed:
            for one, cluster in zip(wanted, clusters, strict=True):
                borrowed.callback(self._take_back, one, cluster)
            yield clusters

    def close(self) -> None:
        """Stop what is left."""
        for cluster in self._kept.values():
            cluster.stop()

    def _take_back(self, wanted: Wanted, cluster: LocalCluster) -> None:
        """Keep what a test has left whole, without its data, and stop the rest."""
        members = cluster.members
        size = wanted.members + wanted.lite_members
        is_whole = len(members) == size and all(member.alive for member in members)
        if not is_whole or wanted in self._kept:
            cluster.stop()
            return
        if any(member.state is MemberState.FROZEN for member in members):
            cluster.thaw()
        _empty(cluster)
        if size == 1:  # one that has nobody to miss it costs nothing until it is wanted again
            cluster.freeze()
        self._kept[wanted] = cluster


def use(cluster: LocalCluster) -> None:
    """Use a cluster for the first time, which takes its members longer than any time after that."""
    with _client_of(cluster) as client:
        entries: Any = client.get_map("first-use").blocking()
        listener = entries.add_entry_listener(include_value=True, added_func=lambda event: None)
        entries.put("key", "value", 60.0)
        entries.entry_set()
        entries.remove_entry_listener(listener)
        entries.destroy()


def _empty(cluster: LocalCluster) -> None:
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
