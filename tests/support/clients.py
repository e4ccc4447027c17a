"""Clients for the tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster


@contextmanager
def client_on(*clusters: LocalCluster, **options: Any) -> Iterator[HazelcastClient]:
    """Give a connected client on these clusters, in this order, and shut it down afterwards."""
    failover = FailoverConfig()
    for cluster in clusters:
        failover.add_cluster(cluster.name, cluster.addresses)
    with HazelcastClient(failover, **options) as client:
        yield client


def client_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hazelcast")]
