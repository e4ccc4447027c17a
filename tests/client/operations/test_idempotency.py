"""Every public method of the official client has a row in the method table."""

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
    Idempotency,
    Outcome,
    RepeatOn,
    may_repeat,
    traits_of,
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
def test_every_row_is_a_method(name: str) -> None:
    assert set(TABLE[name]) <= public_methods(STRUCTURES[name])


def test_every_kind_of_structure_is_found() -> None:
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
def test_services_have_every_official_method(service: type[Any]) -> None:
    official = service.__bases__[0]
    missing = public_methods(official) - set(vars(service))
    assert not missing, f"{official.__name__} of hazelcast {hazelcast.__version__} also has {missing}"
    for name in public_methods(official):
        ours, theirs = getattr(service, name), getattr(official, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__ == theirs.__doc__


def test_near_cached_map_has_the_methods_of_a_map() -> None:
    near_cached = importlib.import_module("hazelcast.proxy.map").MapFeatNearCache
    assert public_methods(near_cached) == public_methods(STRUCTURES["Map"])


@pytest.mark.parametrize("name", sorted({name for rows in TABLE.values() for name in rows}))
def test_own_timeout_names_an_argument(name: str) -> None:
    for structure, rows in TABLE.items():
        row = rows.get(name)
        if row is not None and isinstance(row.own_timeout, str):
            parameters = inspect.signature(getattr(STRUCTURES[structure], name)).parameters
            assert row.own_timeout in parameters, f"{structure}.{name}({', '.join(parameters)})"


def test_timeout_argument_is_the_own_timeout() -> None:
    for structure, rows in TABLE.items():
        for name, row in rows.items():
            parameters = inspect.signature(getattr(STRUCTURES[structure], name)).parameters
            if "timeout" in parameters and row.idempotency is not Idempotency.LOCAL and name != "execute":
                assert row.own_timeout == "timeout", f"{structure}.{name}"


def test_unknown_method_is_once() -> None:
    assert traits_of("Map", "brought_by_a_later_version").idempotency is Idempotency.ONCE
    assert traits_of("BroughtByALaterVersion", "get").idempotency is Idempotency.ONCE


@pytest.mark.parametrize(
    ("structure", "method", "idempotency"),
    [
        ("Map", "get", Idempotency.READ),
        ("Map", "size", Idempotency.READ),
        ("Map", "values", Idempotency.READ),
        ("Map", "set", Idempotency.REPEATABLE),
        ("Map", "delete", Idempotency.REPEATABLE),
        ("Map", "put_all", Idempotency.REPEATABLE),
        ("Map", "set_ttl", Idempotency.REPEATABLE),
        ("Map", "clear", Idempotency.REPEATABLE),
        ("Map", "put", Idempotency.REPEATABLE_ELSEWHERE),
        ("Map", "remove", Idempotency.REPEATABLE_ELSEWHERE),
        ("Set", "add", Idempotency.REPEATABLE_ELSEWHERE),
        ("Queue", "offer", Idempotency.ONCE),
        ("PNCounter", "add_and_get", Idempotency.ONCE),
        ("AtomicLong", "add_and_get", Idempotency.ONCE),
        ("Map", "put_if_absent", Idempotency.ONCE),
        ("Map", "lock", Idempotency.ONCE),
    ],
)
def test_documented_examples(structure: str, method: str, idempotency: Idempotency) -> None:
    assert traits_of(structure, method).idempotency is idempotency


@pytest.mark.parametrize("policy", Repeat)
@pytest.mark.parametrize("idempotency", Idempotency)
@pytest.mark.parametrize("repeat_on", RepeatOn)
def test_not_run_is_always_repeated(idempotency: Idempotency, policy: Repeat, repeat_on: RepeatOn) -> None:
    assert may_repeat(idempotency, policy, Outcome.NOT_RUN, repeat_on)


@pytest.mark.parametrize(
    ("idempotency", "policy", "repeat_on", "expected"),
    [
        (Idempotency.READ, Repeat.REPEATABLE, RepeatOn.SAME_DATA, True),
        (Idempotency.READ, Repeat.READS, RepeatOn.SAME_DATA, True),
        (Idempotency.READ, Repeat.NONE, RepeatOn.OTHER_DATA, False),
        (Idempotency.REPEATABLE, Repeat.REPEATABLE, RepeatOn.SAME_DATA, True),
        (Idempotency.REPEATABLE, Repeat.READS, RepeatOn.OTHER_DATA, False),
        (Idempotency.REPEATABLE, Repeat.NONE, RepeatOn.OTHER_DATA, False),
        (Idempotency.REPEATABLE_ELSEWHERE, Repeat.REPEATABLE, RepeatOn.OTHER_DATA, True),
        (Idempotency.REPEATABLE_ELSEWHERE, Repeat.REPEATABLE, RepeatOn.SAME_DATA, False),
        (Idempotency.REPEATABLE_ELSEWHERE, Repeat.READS, RepeatOn.OTHER_DATA, False),
        (Idempotency.ONCE, Repeat.REPEATABLE, RepeatOn.OTHER_DATA, False),
        (Idempotency.ONCE, Repeat.REPEATABLE, RepeatOn.SAME_DATA, False),
    ],
)
def test_unknown_is_repeated_by_idempotency(
    idempotency: Idempotency, policy: Repeat, repeat_on: RepeatOn, expected: bool
) -> None:
    assert may_repeat(idempotency, policy, Outcome.UNKNOWN, repeat_on) is expected
