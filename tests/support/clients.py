"""Clients for the tests, with time-outs short enough for tests.

They are typed ``Any``: the official proxies are generic, and would need their types at every use.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster

QUICK: dict[str, Any] = {
    "try_count": 1,
    "health_check_interval": 0.2,
    "wait_timeout": 5.0,
    "drain_timeout": 2.0,
}


@contextmanager
def client_on(*clusters: LocalCluster, **options: Any) -> Iterator[Any]:
    """Give a connected client of these clusters, the first of the highest priority."""
    config = FailoverConfig()
    for cluster in clusters:
        config.add_cluster(cluster.name, cluster.addresses)
    with HazelcastClient(config, **QUICK | options) as client:
        yield client


@contextmanager
def client_at(*addresses: tuple[str, str], **options: Any) -> Iterator[Any]:
    """Give a connected client of clusters given as (name, "host:port"), such as behind a relay."""
    config = FailoverConfig()
    for name, address in addresses:
        config.add_cluster(name, [address], smart_routing=False, known_members=False)
    with HazelcastClient(config, **QUICK | options) as client:
        yield client


def client_threads() -> list[str]:
    """The names of the threads that clients have started."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("hazelcast")]
