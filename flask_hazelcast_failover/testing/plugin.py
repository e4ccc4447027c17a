"""The pytest plugin: real clusters as fixtures. Loaded by pytest wherever this package is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask_hazelcast_failover.testing import LocalCluster


@pytest.fixture
def hazelcast_cluster() -> "Iterator[LocalCluster]":
    """A running cluster of one member, for one test."""
    from flask_hazelcast_failover.testing import LocalCluster

    with LocalCluster("dev") as cluster:
        yield cluster


@pytest.fixture
def hazelcast_clusters() -> "Iterator[tuple[LocalCluster, LocalCluster]]":
    """Two running clusters of one member each, `blue` and `green`, for one test."""
    from flask_hazelcast_failover.testing import LocalCluster, start_together

    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green:
        yield blue, green
