"""What is private of the official client and used here is looked for before it is touched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import hazelcast
import pytest
from hazelcast.reactor import _BasicLoop

from flask_hazelcast_failover import ClientOfflineException
from flask_hazelcast_failover.client.official import versions
from flask_hazelcast_failover.client.official.versions import missing_parts
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_threads
from tests.support.moving import client_on
from tests.support.waiting import eventually

PARTS = (*versions._USED, *versions._USED_OF_WAKER)


def client_with(*paths: str) -> SimpleNamespace:
    """Something that has these attributes, nested as named, and no others."""
    top = SimpleNamespace()
    for path in paths:
        holder = top
        for name in path.split("."):
            if not hasattr(holder, name):
                setattr(holder, name, SimpleNamespace())
            holder = getattr(holder, name)
    return top


def test_the_version_that_is_installed_has_every_part(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        (official,) = client.connected_clusters().values()
        assert missing_parts(official) == []


@pytest.mark.parametrize("part", PARTS)
def test_a_version_without_a_part_is_told_by_it(part: str) -> None:
    assert missing_parts(client_with(*PARTS)) == []
    assert missing_parts(client_with(*(other for other in PARTS if other != part))) == [part]


def test_a_loop_without_wake_ups_needs_no_waker() -> None:
    """Where a pipe cannot be had the official client falls back to it."""
    client: Any = client_with(*versions._USED)
    assert missing_parts(client) == list(versions._USED_OF_WAKER)
    client._reactor._loop = _BasicLoop({})
    assert missing_parts(client) == []


def test_an_unsupported_version_is_named_and_nothing_of_it_is_left(
    blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "_USED_OF_WAKER", ("_reactor._loop.waker.renamed",))
    with (
        pytest.raises(ClientOfflineException) as raised,
        client_on(blue, try_count=1),
    ):
        pass
    message = str(raised.value)
    assert f"hazelcast-python-client {hazelcast.__version__} has no _reactor._loop.waker.renamed" in message
    assert "5.5 to 5.7" in message
    eventually(lambda: client_threads() == [])
