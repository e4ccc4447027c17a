"""Clusters and clients for the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hazelcast.client import HazelcastClient as OfficialClient

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, start_together

__all__ = ["connected", "official", "pair", "until"]


@contextmanager
def pair() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Give two running clusters."""
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green:
        yield blue, green


@contextmanager
def connected(*clusters: LocalCluster, **options: Any) -> Iterator[HazelcastClient]:
    """Give a client that is connected to all of these clusters and has checked each of them."""
    config = FailoverConfig()
    for cluster in clusters:
        config.add_cluster(cluster.name, cluster.addresses)
    with HazelcastClient(config, **options) as client:
        if options.get("standby") != "cold":
            until(lambda: all(cluster.latency_ms is not None for cluster in client.status().clusters))
        yield client


@contextmanager
def official(cluster: LocalCluster) -> Iterator[OfficialClient]:
    """Give an official client of a cluster."""
    client = OfficialClient(cluster_name=cluster.name, cluster_members=cluster.addresses)
    try:
        yield client
    finally:
        client.shutdown()


def until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition of a benchmark was not true within {within:g} s")
        time.sleep(0.005)
