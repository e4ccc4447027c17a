"""Fixtures: running clusters, shared by tests that leave them running, and of their own for tests that do not."""

import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, MemberState, free_port, start_together
from tests.support.clients import client_threads
from tests.support.cluster_pool import ClusterPool, ClusterSpec, warm_up
from tests.support.waiting import eventually

_HOME = Path.home()


class StartCluster(Protocol):
    """Starts a cluster that is stopped when the test ends."""

    def __call__(self, name: str, members: int = 1, **options: Any) -> LocalCluster: ...


def pytest_collection_finish() -> None:
    """Imported modules stay to the end: keep the garbage collector from going through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _collect_clients() -> None:
    """Collect the clients of apps of the file before: some tests count threads."""
    gc.collect()
    with suppress(AssertionError):  # clients that are still referenced stay
        eventually(lambda: "hazelcast-failover-controller" not in client_threads(), within=2.0)


@pytest.fixture(scope="session")
def cluster_pool() -> Iterator[ClusterPool]:
    """Clusters that tests may kill and freeze, kept running from one test to the next."""
    with closing(ClusterPool()) as pool:
        yield pool


@pytest.fixture
def start_cluster(cluster_pool: ClusterPool) -> Iterator[StartCluster]:
    """Start clusters that this test may kill, freeze and restart."""
    with ExitStack() as running:

        def start(name: str, members: int = 1, **options: Any) -> LocalCluster:
            if options.keys() - {"lite_members"}:
                return running.enter_context(LocalCluster(name, members, **options))
            (cluster,) = running.enter_context(cluster_pool.lease(ClusterSpec(name, members, **options)))
            return cluster

        yield start


@pytest.fixture
def pair(cluster_pool: ClusterPool) -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Clusters `blue` and `green` that this test may kill, freeze and restart."""
    with cluster_pool.lease(ClusterSpec("blue"), ClusterSpec("green")) as (blue, green):
        yield blue, green


@pytest.fixture(scope="session")
def shared_clusters() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """The clusters behind `blue` and `green`."""
    # Thousands of tests leave structures there, each with a store for every partition.
    blue, green = (LocalCluster(name, heap=512) for name in ("blue", "green"))
    start_together(blue, green)
    with blue, green:
        for cluster in blue, green:
            warm_up(cluster)
        yield blue, green


@pytest.fixture
def blue(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[LocalCluster]:
    """A running cluster that all tests share: leave it running, and use names that no other test uses."""
    yield from _check_running(shared_clusters[0])


@pytest.fixture
def green(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[LocalCluster]:
    """Another running cluster that all tests share: leave it running, and use names that no other test uses."""
    yield from _check_running(shared_clusters[1])


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in a temporary folder, tested with this package's plugin and no other.

    It has a home of its own, but shares the jars and archives that members need.
    """
    monkeypatch.setenv("M2_REPO", os.environ.get("M2_REPO") or str(_HOME / ".m2" / "repository"))
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(_HOME / ".cache"))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-q -p flask_hazelcast_failover.testing.plugin")
    return pytester


@pytest.fixture
def away() -> Iterator[HazelcastClient]:
    """A client none of whose clusters can be reached."""
    failover = FailoverConfig(try_count=1)
    failover.add_cluster("blue", [f"127.0.0.1:{free_port()}"])
    client = HazelcastClient(failover)
    yield client
    client.shutdown()


def _check_running(cluster: LocalCluster) -> Iterator[LocalCluster]:
    yield cluster
    stopped = [member for member in cluster.members if member.state is not MemberState.RUNNING]
    if stopped:
        cluster.restart()
        pytest.fail(f"{stopped} is of a shared cluster; tests that stop members use start_cluster or pair")
