"""The pytest plugin: real clusters as fixtures. pytest loads it wherever this package is installed.

All tests share two clusters, since starting one takes a second. A test that kills, freezes or stops
members is marked with ``@pytest.mark.hazelcast_faults`` and gets clusters of its own.

Since it is loaded for projects that use none of its fixtures too, a fixture imports what it needs when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ._cluster import LocalCluster

_MARKER = "hazelcast_faults"
_NAMES = ("blue", "green")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(members=1): the test kills, freezes or stops members; it gets clusters of its own,"
        " with so many members each",
    )


@pytest.fixture
def hazelcast_cluster(hazelcast_clusters: tuple[LocalCluster, LocalCluster]) -> LocalCluster:
    """A running cluster, ``blue``."""
    return hazelcast_clusters[0]


@pytest.fixture
def hazelcast_clusters(
    request: pytest.FixtureRequest, _shared_hazelcast_clusters: _Shared
) -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Two running clusters, ``blue`` and ``green``: shared ones, or a marked test's own."""
    marker = request.node.get_closest_marker(_MARKER)
    if marker is None:
        yield _shared_hazelcast_clusters.running()
        return
    own = _started(*marker.args, **marker.kwargs)
    try:
        yield own
    finally:
        for cluster in own:
            cluster.stop()


@pytest.fixture(scope="session")
def _shared_hazelcast_clusters() -> Iterator[_Shared]:
    shared = _Shared()
    yield shared
    shared.stop()


class _Shared:
    """The clusters that unmarked tests share. They are started again if a test has ended a member."""

    def __init__(self) -> None:
        self._clusters: tuple[LocalCluster, LocalCluster] | None = None

    def running(self) -> tuple[LocalCluster, LocalCluster]:
        from ._member import MemberState

        if self._clusters is not None:
            members = [member for cluster in self._clusters for member in cluster.members]
            if any(member.state is not MemberState.RUNNING for member in members):
                self.stop()
        if self._clusters is None:
            self._clusters = _started()
        return self._clusters

    def stop(self) -> None:
        for cluster in self._clusters or ():
            cluster.stop()
        self._clusters = None


def _started(members: int = 1) -> tuple[LocalCluster, LocalCluster]:
    from ._cluster import LocalCluster, start_together
    from ._errors import UnsupportedPlatformError

    blue, green = (LocalCluster(name, members) for name in _NAMES)
    try:
        start_together(blue, green)
    except UnsupportedPlatformError as error:
        pytest.fail(str(error), pytrace=False)
    return blue, green
