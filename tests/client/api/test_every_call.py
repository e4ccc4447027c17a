"""Every method of every structure, called: it answers as the official proxy, and its class is true of real members."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hazelcast.aggregator import count, max_
from hazelcast.client import HazelcastClient as OfficialClient
from hazelcast.config import IndexType
from hazelcast.predicate import sql
from hazelcast.projection import single_attribute
from hazelcast.serialization.api import IdentifiedDataSerializable

from flask_hazelcast_failover.client._operations.idempotency import TABLE, Idempotency, traits_of
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on

Call = tuple[Any, ...]


class Unknown(IdentifiedDataSerializable):
    """What no member has the class of."""

    def get_factory_id(self) -> int:
        return 777

    def get_class_id(self) -> int:
        return 1

    def write_data(self, object_data_output: Any) -> None:
        """Nothing to write."""

    def read_data(self, object_data_input: Any) -> None:
        """Nothing to read."""


SCRIPTS: dict[str, list[Call]] = {
    "Map": [
        ("is_empty",),
        ("put", "a", 1),
        ("put", "a", 2),
        ("set", "b", 3),
        ("put_all", {"c": 4, "d": 5}),
        ("get", "a"),
        ("get_all", ["a", "b", "nobody"]),
        ("contains_key", "a"),
        ("contains_value", 3),
        ("size",),
        ("put_if_absent", "a", 9),
        ("put_if_absent", "e", 6),
        ("replace", "a", 7),
        ("replace", "nobody", 1),
        ("replace_if_same", "a", 7, 8),
        ("replace_if_same", "a", 7, 9),
        ("remove_if_same", "e", 1),
        ("remove_if_same", "e", 6),
        ("try_put", "t", 1, 1.0),
        ("try_remove", "t", 1.0),
        ("put_transient", "p", 1),
        ("set_ttl", "a", 1000),
        ("get_entry_view", "a"),
        ("add_index", ["this"], IndexType.SORTED, "numbers"),
        ("key_set",),
        ("key_set", sql("this > 3")),
        ("values", sql("this > 3")),
        ("entry_set", sql("this > 3")),
        ("project", single_attribute("this")),
        ("project", single_attribute("this"), sql("this > 3")),
        ("aggregate", count()),
        ("aggregate", max_("this"), sql("this < 5")),
        ("execute_on_key", "a", Unknown()),
        ("execute_on_keys", ["a", "b"], Unknown()),
        ("execute_on_entries", Unknown()),
        ("add_interceptor", Unknown()),
        ("remove_interceptor", "nobody"),
        ("lock", "k"),
        ("is_locked", "k"),
        ("try_lock", "k"),
        ("unlock", "k"),
        ("force_unlock", "k"),
        ("is_locked", "k"),
        ("unlock", "k"),
        ("evict", "p"),
        ("delete", "b"),
        ("remove", "c"),
        ("remove", "c"),
        ("remove_all", sql("this > 7")),
        ("entry_set",),
        ("load_all",),
        ("flush",),
        ("evict_all",),
        ("size",),
        ("put", "z", 1),
        ("clear",),
        ("values",),
    ],
    "ReplicatedMap": [
        ("put", "a", 1),
        ("put", "a", 2),
        ("put_all", {"b": 3, "c": 4}),
        ("get", "a"),
        ("contains_key", "b"),
        ("contains_value", 4),
        ("key_set",),
        ("values",),
        ("entry_set",),
        ("remove", "a"),
        ("remove", "a"),
        ("size",),
        ("clear",),
        ("is_empty",),
    ],
    "MultiMap": [
        ("put", "a", 1),
        ("put", "a", 1),
        ("put", "a", 2),
        ("put_all", {"b": [1, 2, 2]}),
        ("get", "a"),
        ("contains_key", "a"),
        ("contains_value", 2),
        ("contains_entry", "a", 2),
        ("value_count", "b"),
        ("key_set",),
        ("values",),
        ("entry_set",),
        ("size",),
        ("lock", "k"),
        ("try_lock", "k"),
        ("unlock", "k"),
        ("is_locked", "k"),
        ("force_unlock", "k"),
        ("is_locked", "k"),
        ("remove", "a", 1),
        ("remove", "a", 1),
        ("remove_all", "b"),
        ("entry_set",),
        ("clear",),
        ("size",),
    ],
    "Queue": [
        ("offer", 1),
        ("add", 2),
        ("add_all", [3, 4, 5, 6, 7]),
        ("put", 8),
        ("peek",),
        ("contains", 4),
        ("contains_all", [4, 99]),
        ("remaining_capacity",),
        ("iterator",),
        ("remove", 4),
        ("remove", 4),
        ("remove_all", [5, 99]),
        ("retain_all", [1, 2, 3, 6, 8]),
        ("poll",),
        ("take",),
        ("iterator",),
        ("drain_to", [], 1),
        ("size",),
        ("clear",),
        ("is_empty",),
    ],
    "List": [
        ("add", 1),
        ("add_at", 0, 2),
        ("add_all", [3, 4, 3]),
        ("add_all_at", 1, [5, 6]),
        ("set_at", 0, 7),
        ("set_at", 0, 7),
        ("get", 0),
        ("get_all",),
        ("contains", 3),
        ("contains_all", [3, 99]),
        ("index_of", 3),
        ("last_index_of", 3),
        ("iterator",),
        ("list_iterator", 2),
        ("sub_list", 1, 3),
        ("remove", 3),
        ("remove_at", 0),
        ("remove_all", [4]),
        ("retain_all", [1, 3]),
        ("get_all",),
        ("size",),
        ("clear",),
        ("is_empty",),
    ],
    "Set": [
        ("add", 1),
        ("add", 1),
        ("add_all", [2, 3, 4]),
        ("contains", 2),
        ("contains_all", [2, 99]),
        ("remove", 2),
        ("remove", 2),
        ("remove_all", [3]),
        ("retain_all", [1]),
        ("get_all",),
        ("size",),
        ("clear",),
        ("is_empty",),
    ],
    "Ringbuffer": [
        ("add", 1),
        ("add_all", [2, 3, 4], 0),
        ("capacity",),
        ("size",),
        ("remaining_capacity",),
        ("head_sequence",),
        ("tail_sequence",),
        ("read_one", 1),
        ("read_many", 0, 1, 3),
    ],
    "Topic": [("publish", 1), ("publish_all", [2, 3])],
    "ReliableTopic": [("publish", 1), ("publish_all", [2, 3])],
    "PNCounter": [
        ("add_and_get", 5),
        ("get_and_add", 2),
        ("increment_and_get",),
        ("get_and_increment",),
        ("decrement_and_get",),
        ("get_and_decrement",),
        ("subtract_and_get", 3),
        ("get_and_subtract", 1),
        ("get",),
    ],
    "Executor": [("is_shutdown",), ("execute_on_key_owner", "a", Unknown()), ("shutdown",), ("is_shutdown",)],
}
GETTERS = {
    "Map": "get_map",
    "ReplicatedMap": "get_replicated_map",
    "MultiMap": "get_multi_map",
    "Queue": "get_queue",
    "List": "get_list",
    "Set": "get_set",
    "Ringbuffer": "get_ringbuffer",
    "Topic": "get_topic",
    "ReliableTopic": "get_reliable_topic",
    "PNCounter": "get_pn_counter",
    "Executor": "get_executor",
}
# Their answers come in any order.
UNORDERED = {"Map", "ReplicatedMap", "MultiMap", "Set"}
# Not called here: the CP subsystem, SQL and transactions have members and tests of their own; nodes and
# connections are listed differently each time; listeners are followed in tests of theirs.
APART = {"destroy", "execute_on_member", "execute_on_members", "execute_on_all_members"}


class Answer(NamedTuple):
    """What a call came to, and what it came to when it was done once more."""

    call: Call
    first: object
    second: object = None


@pytest.fixture(scope="module")
def clusters(shared_clusters: tuple[LocalCluster, LocalCluster]) -> tuple[LocalCluster, LocalCluster]:
    return shared_clusters


@pytest.fixture(scope="module")
def client(clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with client_on(*clusters) as client:
        yield client


def play(proxy: Any, structure: str, twice: frozenset[Idempotency] = frozenset()) -> list[Answer]:
    """Make the calls of a script, those of some classes twice."""
    answers = []
    for name, *arguments in SCRIPTS[structure]:
        given = [argument.copy() if isinstance(argument, list) else argument for argument in arguments]
        answer = Answer((name, *arguments), outcome(proxy, structure, name, given))
        if traits_of(structure, name).idempotency in twice:
            answer = answer._replace(second=outcome(proxy, structure, name, given))
        answers.append(answer)
    return answers


def outcome(proxy: Any, structure: str, name: str, arguments: list[Any]) -> object:
    try:
        result = getattr(proxy, name)(*arguments)
        if hasattr(result, "add_done_callback"):
            result = result.result()
    except Exception as error:
        return type(error)
    found: Any = plain(result)
    in_any_order = structure in UNORDERED and isinstance(found, list)
    return [sorted(found, key=repr) if in_any_order else found, *(a for a in arguments if a == [])]


def plain(result: Any) -> object:
    if hasattr(result, "key") and hasattr(result, "value"):
        return result.key, result.value
    if result is None or isinstance(result, (str, int, float, dict, tuple)):
        return result
    return [plain(each) for each in result]


def of(client: Any, structure: str, flavour: str) -> Any:
    """A structure that nobody has used yet."""
    proxy = getattr(client, GETTERS[structure])(f"every-call-{uuid.uuid4().hex}")
    return proxy.blocking() if flavour == "blocking" else proxy


@pytest.mark.parametrize("flavour", ["blocking", "future"])
@pytest.mark.parametrize("structure", SCRIPTS)
def test_every_call_has_the_official_result(
    structure: str, flavour: str, client: Any, clusters: tuple[LocalCluster, LocalCluster]
) -> None:
    """Before and after a switch, and on a proxy that was used on another cluster."""
    for cluster in clusters:
        client.switch_to(cluster.name)
        official = OfficialClient(cluster_name=cluster.name, cluster_members=cluster.addresses)
        try:
            expected = play(of(official, structure, flavour), structure)
        finally:
            official.shutdown()
        assert play(of(client, structure, flavour), structure) == expected
    followed = of(client, structure, flavour)
    play(followed, structure)
    client.reset()
    assert play(followed, structure) == expected, "the same proxy, on a cluster that it has not been used on"


@pytest.mark.parametrize("structure", SCRIPTS)
def test_repeatable_calls_made_twice(structure: str, client: Any) -> None:
    """They have the effect of one call, and REPEATABLE ones its answer as well."""
    repeatable = frozenset({Idempotency.READ, Idempotency.REPEATABLE, Idempotency.REPEATABLE_ELSEWHERE})
    once = play(of(client, structure, "blocking"), structure)
    twice = play(of(client, structure, "blocking"), structure, repeatable)
    assert [answer.first for answer in twice] == [answer.first for answer in once]
    for answer in twice:
        if traits_of(structure, answer.call[0]).idempotency in (Idempotency.READ, Idempotency.REPEATABLE):
            assert answer.second == answer.first, f"{answer.call}: its answer differs"


@pytest.mark.parametrize("structure", SCRIPTS)
def test_every_method_is_called(structure: str) -> None:
    asks = {Idempotency.READ, Idempotency.REPEATABLE, Idempotency.REPEATABLE_ELSEWHERE, Idempotency.ONCE}
    methods = {name for name, method in TABLE[structure].items() if method.idempotency in asks}
    assert methods - APART == {name for name, *_ in SCRIPTS[structure]}
