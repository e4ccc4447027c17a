"""Running clusters for the tests: shared ones where nobody kills them, fresh ones where somebody does."""

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
from tests.support.cluster_pool import Stock, Wanted, use
from tests.support.waiting import eventually

_HOME = Path.home()


class StartCluster(Protocol):
    """Starts a cluster that lives as long as the test."""

    def __call__(self, name: str, members: int = 1, **options: Any) -> LocalCluster: ...


def pytest_collection_finish() -> None:
    """What was imported stays to the end: nobody need look through it again for what can go."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _without_what_was_dropped() -> None:
    """The clients of apps that the file before has dropped go with them: some tests count threads."""
    gc.collect()
    with suppress(AssertionError):  # a client that somebody still holds is not of this kind
        eventually(lambda: "hazelcast-failover-controller" not in client_threads(), within=2.0)


@pytest.fixture(scope="session")
def stock() -> Iterator[Stock]:
    """Clusters that tests may harm, kept running from one to the next."""
    with closing(Stock()) as kept:
        yield kept


@pytest.fixture
def start_cluster(stock: Stock) -> Iterator[StartCluster]:
    """Start clusters that this test may kill, freeze and restart."""
    with ExitStack() as running:

        def start(name: str, members: int = 1, **options: Any) -> LocalCluster:
            if options.keys() - {"lite_members"}:
                return running.enter_context(LocalCluster(name, members, **options))
            (cluster,) = running.enter_context(stock.lent(Wanted(name, members, **options)))
            return cluster

        yield start


@pytest.fixture
def pair(stock: Stock) -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Clusters `blue` and `green` of its own, that this test may kill, freeze and restart."""
    with stock.lent(Wanted("blue"), Wanted("green")) as (blue, green):
        yield blue, green


@pytest.fixture(scope="session")
def shared_clusters() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """The clusters behind `blue` and `green`."""
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green:
        for cluster in blue, green:
            use(cluster)
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
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project in a folder of its own, tested with the plugin of this package and none of the others installed here.

    It has a home of its own as well, but not its own copies of what members need.
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


def _left_running(cluster: LocalCluster) -> Iterator[LocalCluster]:
    yield cluster
    harmed = [member for member in cluster.members if member.state is not MemberState.RUNNING]
    if harmed:
        cluster.restart()
        pytest.fail(f"{harmed} belongs to a shared cluster; take one from start_cluster or pair to harm it")
