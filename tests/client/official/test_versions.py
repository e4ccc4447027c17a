"""Every private part of the official client that is used is checked before its use."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hazelcast
import pytest
from hazelcast.client import HazelcastClient as OfficialClient
from hazelcast.reactor import _BasicLoop

from flask_hazelcast_failover import ClientOfflineException
from flask_hazelcast_failover.client._official import versions
from flask_hazelcast_failover.client._official.versions import missing_parts
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on, client_threads
from tests.support.waiting import eventually

# Parts of objects and constants that cannot be checked in advance: other tests fail without them.
TOLD_BY_TESTS = {
    "_REQUEST_MESSAGE_TYPE",
    "_RESPONSE_MESSAGE_TYPE",
    "_builder",
    "_write_queue",
    "_code",
    "_current_target_replica_address",
    "_frame_size",
    "_invalidation_listener_id",
    "_near_cache",
    "_proxy_name",
    "_ringbuffer",
    "_send_schema_and_retry",
    "_runners",
}

PARTS = (*versions._CLIENT_PARTS, *versions._WAKER_PARTS)


def client_with(*paths: str) -> SimpleNamespace:
    """An object with these attributes, nested by their paths, and no others."""
    top = SimpleNamespace()
    for path in paths:
        holder = top
        for name in path.split("."):
            if not hasattr(holder, name):
                setattr(holder, name, SimpleNamespace())
            holder = getattr(holder, name)
    return top


def test_the_installed_version_has_every_part(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        (official,) = client.control.connected_clusters().values()
        assert missing_parts(official) == []


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named(part: str) -> None:
    assert missing_parts(client_with(*PARTS)) == []
    assert missing_parts(client_with(*(other for other in PARTS if other != part))) == [part]


def test_a_missing_part_of_a_class_is_named(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a client is created."""
    assert versions.missing_class_parts() == []
    monkeypatch.setattr(versions, "_CLASS_PARTS", ((OfficialClient, "_renamed"),))
    with (
        pytest.raises(ClientOfflineException, match=r"has no HazelcastClient\._renamed.*5\.5 to 5\.7"),
        client_on(blue, try_count=1),
    ):
        pass
    eventually(lambda: client_threads() == [])


def test_every_private_part_that_is_used_is_checked() -> None:
    checked = {name for path in PARTS for name in path.split(".")}
    checked |= {name for _, name in versions._CLASS_PARTS}
    files = Path(versions.__file__).parent.rglob("*.py")
    used, own = set[str](), set[str]()
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            used.add(node.attr)
    assert used - checked - own - TOLD_BY_TESTS == set()


def test_only_this_package_uses_private_parts() -> None:
    private = {name for path in PARTS for name in path.split(".") if name.startswith("_")}
    private |= {name for _, name in versions._CLASS_PARTS} | TOLD_BY_TESTS
    package = Path(versions.__file__).parent
    elsewhere = {
        f"{file.name}: {node.attr}"
        for file in package.parent.parent.rglob("*.py")
        if package not in file.parents and "testing" not in file.parts
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in private
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")  # a name of this package
    }
    assert elsewhere == set()


def test_a_loop_without_wake_ups_needs_no_waker() -> None:
    """The official client falls back to it where it cannot create a pipe."""
    client: Any = client_with(*versions._CLIENT_PARTS)
    assert missing_parts(client) == list(versions._WAKER_PARTS)
    client._reactor._loop = _BasicLoop({})
    assert missing_parts(client) == []


def test_an_unsupported_version_is_named(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves no thread behind."""
    monkeypatch.setattr(versions, "_WAKER_PARTS", ("_reactor._loop.waker.renamed",))
    with (
        pytest.raises(ClientOfflineException) as raised,
        client_on(blue, try_count=1),
    ):
        pass
    message = str(raised.value)
    assert f"hazelcast-python-client {hazelcast.__version__} has no _reactor._loop.waker.renamed" in message
    assert "5.5 to 5.7" in message
    eventually(lambda: client_threads() == [])
