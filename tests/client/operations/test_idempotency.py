"""Every public method of the official client has a row that says what a loss means for it."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import hazelcast
import hazelcast.client
import hazelcast.cp
import hazelcast.proxy
import hazelcast.sql
import hazelcast.transaction
import pytest
from hazelcast.proxy.base import Proxy, TransactionalProxy
from hazelcast.proxy.cp import BaseCPProxy

from flask_hazelcast_failover.client._api.services import (
    FollowingClusterService,
    FollowingLifecycle,
    FollowingPartitions,
)
from flask_hazelcast_failover.client._api.sql import FollowingSql
from flask_hazelcast_failover.client._operations.idempotency import (
    TABLE,
    Fate,
    Kind,
    Next,
    method_of,
    repeats,
)
from flask_hazelcast_failover.client.options import Repeat

# What the official client has beside its structures, and the base classes that give them common methods.
OTHERS = [
    hazelcast.client.HazelcastClient,
    hazelcast.cp.CPSubsystem,
    hazelcast.sql.SqlService,
    hazelcast.sql.SqlResult,
    hazelcast.transaction.Transaction,
]
BASES = {"BaseCPProxy", "SessionAwareCPProxy", "MapFeatNearCache"}
# A semaphore is one of these two, which only a member knows.
SEMAPHORES = {"SessionAwareSemaphore", "SessionlessSemaphore"}


def every_structure() -> Iterator[type[Any]]:
    """Walk the official package: a structure that a new version brings is found by itself."""
    for module in pkgutil.walk_packages(hazelcast.proxy.__path__, "hazelcast.proxy."):
        for name, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            is_structure = issubclass(found, Proxy | TransactionalProxy | BaseCPProxy)
            here = found.__module__ == module.name and not name.startswith(("Blocking", "_"))
            if is_structure and here and not module.name.endswith(".base"):
                yield found


STRUCTURES = {found.__name__: found for found in [*every_structure(), *OTHERS] if found.__name__ not in BASES}


def public_methods(structure: type[Any]) -> set[str]:
    return {name for name, _ in inspect.getmembers(structure, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_every_public_method_has_a_row(name: str) -> None:
    rows = TABLE["Semaphore" if name in SEMAPHORES else name]
    missing = (
        public_methods(STRUCTURES[name]) - set(rows) - ({"get_group_id"} if name in SEMAPHORES else set())
    )
    assert not missing, f"{name} of hazelcast {hazelcast.__version__} has methods without a class: {missing}"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_row_is_of_a_method_that_exists(name: str) -> None:
    assert set(TABLE[name]) <= public_methods(STRUCTURES[name])


def test_the_walk_finds_every_kind_of_structure() -> None:
    assert {"Map", "VectorCollection", "FencedLock", "TransactionalMap", "Executor"} <= set(STRUCTURES)
    assert set(TABLE) | SEMAPHORES == set(STRUCTURES)


def test_every_property_of_the_client_is_known() -> None:
    properties = inspect.getmembers(
        hazelcast.client.HazelcastClient, lambda found: isinstance(found, property)
    )
    assert {name for name, _ in properties} == {
        "cluster_service",
        "cp_subsystem",
        "lifecycle_service",
        "name",
        "partition_service",
        "sql",
    }


@pytest.mark.parametrize(
    "service", [FollowingClusterService, FollowingLifecycle, FollowingPartitions, FollowingSql]
)
def test_a_service_has_every_public_method_of_the_official_one(service: type[Any]) -> None:
    official = service.__bases__[0]
    missing = public_methods(official) - set(vars(service))
    assert not missing, f"{official.__name__} of hazelcast {hazelcast.__version__} also has {missing}"
    for name in public_methods(official):
        ours, theirs = getattr(service, name), getattr(official, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__ == theirs.__doc__


def test_a_near_cached_map_has_the_methods_of_a_map() -> None:
    near_cached = importlib.import_module("hazelcast.proxy.map").MapFeatNearCache
    assert public_methods(near_cached) == public_methods(STRUCTURES["Map"])


@pytest.mark.parametrize("name", sorted({name for rows in TABLE.values() for name in rows}))
def test_a_wait_names_an_argument_of_the_method(name: str) -> None:
    for structure, rows in TABLE.items():
        row = rows.get(name)
        if row is not None and isinstance(row.waits, str):
            parameters = inspect.signature(getattr(STRUCTURES[structure], name)).parameters
            assert row.waits in parameters, f"{structure}.{name}({', '.join(parameters)})"


def test_a_method_with_a_timeout_waits_for_it() -> None:
    for structure, rows in TABLE.items():
        for name, row in rows.items():
            parameters = inspect.signature(getattr(STRUCTURES[structure], name)).parameters
            if "timeout" in parameters and row.kind is not Kind.LOCAL and name != "execute":
                assert row.waits == "timeout", f"{structure}.{name}"


def test_an_unknown_method_is_done_once() -> None:
    assert method_of("Map", "brought_by_a_later_version").kind is Kind.ONCE
    assert method_of("BroughtByALaterVersion", "get").kind is Kind.ONCE


@pytest.mark.parametrize(
    ("structure", "method", "kind"),
    [
        ("Map", "get", Kind.READ),
        ("Map", "size", Kind.READ),
        ("Map", "values", Kind.READ),
        ("Map", "set", Kind.REPEATABLE),
        ("Map", "delete", Kind.REPEATABLE),
        ("Map", "put_all", Kind.REPEATABLE),
        ("Map", "set_ttl", Kind.REPEATABLE),
        ("Map", "clear", Kind.REPEATABLE),
        ("Map", "put", Kind.REPEATABLE_ELSEWHERE),
        ("Map", "remove", Kind.REPEATABLE_ELSEWHERE),
        ("Set", "add", Kind.REPEATABLE_ELSEWHERE),
        ("Queue", "offer", Kind.ONCE),
        ("PNCounter", "add_and_get", Kind.ONCE),
        ("AtomicLong", "add_and_get", Kind.ONCE),
        ("Map", "put_if_absent", Kind.ONCE),
        ("Map", "lock", Kind.ONCE),
    ],
)
def test_the_promised_examples_have_the_promised_class(structure: str, method: str, kind: Kind) -> None:
    assert method_of(structure, method).kind is kind


@pytest.mark.parametrize("policy", Repeat)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("where", Next)
def test_what_surely_did_not_run_is_repeated_whatever_its_class(
    kind: Kind, policy: Repeat, where: Next
) -> None:
    assert repeats(kind, policy, Fate.NOT_RUN, where)


@pytest.mark.parametrize(
    ("kind", "policy", "where", "expected"),
    [
        (Kind.READ, Repeat.REPEATABLE, Next.SAME, True),
        (Kind.READ, Repeat.READS, Next.SAME, True),
        (Kind.READ, Repeat.NONE, Next.ELSEWHERE, False),
        (Kind.REPEATABLE, Repeat.REPEATABLE, Next.SAME, True),
        (Kind.REPEATABLE, Repeat.READS, Next.ELSEWHERE, False),
        (Kind.REPEATABLE, Repeat.NONE, Next.ELSEWHERE, False),
        (Kind.REPEATABLE_ELSEWHERE, Repeat.REPEATABLE, Next.ELSEWHERE, True),
        (Kind.REPEATABLE_ELSEWHERE, Repeat.REPEATABLE, Next.SAME, False),
        (Kind.REPEATABLE_ELSEWHERE, Repeat.READS, Next.ELSEWHERE, False),
        (Kind.ONCE, Repeat.REPEATABLE, Next.ELSEWHERE, False),
        (Kind.ONCE, Repeat.REPEATABLE, Next.SAME, False),
    ],
)
def test_what_may_have_run_is_repeated_by_its_class(
    kind: Kind, policy: Repeat, where: Next, expected: bool
) -> None:
    assert repeats(kind, policy, Fate.UNKNOWN, where) is expected
