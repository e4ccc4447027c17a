"""Running clusters for the tests: shared ones where nobody kills them, fresh ones where somebody does."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, MemberState, free_port, start_together


class StartCluster(Protocol):
    """Starts a cluster that lives as long as the test."""

    def __call__(self, name: str, members: int = 1, **options: Any) -> LocalCluster: ...


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    """Start clusters that this test may kill, freeze and restart."""
    with ExitStack() as running:

        def start(name: str, members: int = 1, **options: Any) -> LocalCluster:
            cluster = LocalCluster(name, members, **options)
            running.callback(cluster.stop)
            return cluster.start()

        yield start


@pytest.fixture
def pair() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Fresh clusters `blue` and `green`, started at once, that this test may kill, freeze and restart."""
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green:
        yield blue, green


@pytest.fixture(scope="session")
def shared_clusters() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """The clusters behind `blue` and `green`."""
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green:
        yield blue, green


@pytest.fixture
def blue(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[LocalCluster]:
    """A running cluster that all tests share: use names of your own in it, and leave it running."""
    yield from _left_running(shared_clusters[0])


@pytest.fixture
def green(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[LocalCluster]:
    """Another running cluster that all tests share: use names of your own in it, and leave it running."""
    yield from _left_running(shared_clusters[1])


@pytest.fixture
def away() -> Iterator[HazelcastClient]:
    """A client none of whose clusters can be reached."""
    failover = FailoverConfig(try_count=1)
    failover.add_cluster("blue", [f"127.0.0.1:{free_port()}"])
    client = HazelcastClient(failover)
    yield client
    client.shutdown()


def _left_running(cluster: LocalCluster) -> Iterator[LocalCluster]:
    yield cluster
    harmed = [member for member in cluster.members if member.state is not MemberState.RUNNING]
    if harmed:
        cluster.restart()
        pytest.fail(f"{harmed} belongs to a shared cluster; take one from start_cluster or pair to harm it")
