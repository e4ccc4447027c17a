"""Relays that leave operations without an answer."""

from collections.abc import Iterator

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.support.relay import Relay


@pytest.fixture
def relayed(blue: LocalCluster, green: LocalCluster) -> Iterator[tuple[Relay, Relay]]:
    """Relays to `blue` and `green`: frozen, requests are surely sent and surely not answered."""
    with Relay(blue.addresses[0]) as first, Relay(green.addresses[0]) as second:
        yield first, second
