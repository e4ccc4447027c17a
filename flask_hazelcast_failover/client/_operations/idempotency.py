"""The method table: what may be done again after a loss, for every method of every structure.

One place answers "is this operation repeated when its cluster dies?". A method that the table does
not know is ``ONCE``: never repeated unless it surely did not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from flask_hazelcast_failover.client.options import Repeat

__all__ = [
    "TABLE",
    "Affinity",
    "Idempotency",
    "MethodTraits",
    "Outcome",
    "RepeatOn",
    "may_repeat",
    "traits_of",
]


class Idempotency(Enum):
    """What doing a method twice means."""

    READ = "changes nothing"
    REPEATABLE = "twice is as once, and the answer does not tell"
    REPEATABLE_ELSEWHERE = "twice is as once, but on the same cluster the answer would tell"
    ONCE = "twice is not as once"
    LISTEN = "registers a listener, which the client carries along"
    UNLISTEN = "takes a listener off"
    LOCAL = "asks no cluster"
    BOUND = "belongs to a transaction or a cursor, and ends with it"


class Affinity(Enum):
    """What ties a method's arguments or answer to the cluster that it ran on."""

    LOCK = "its caller holds a lock afterwards"
    UNLOCK = "its caller gives a lock back"
    TAKES_PERMITS = "its caller holds permits of a semaphore afterwards"
    DRAINS_PERMITS = "its answer is how many permits of a semaphore its caller holds afterwards"
    GIVES_PERMITS = "its caller gives permits of a semaphore back"
    GIVES_SEQUENCE = "its answer is a sequence of one ring buffer"
    TAKES_SEQUENCE = "its argument is a sequence of one ring buffer"


class Outcome(Enum):
    """What is known of an operation that was lost."""

    NOT_RUN = "it surely did not run"
    UNKNOWN = "it may have run"


class RepeatOn(Enum):
    """Where a lost operation would go next."""

    SAME = "the cluster that it was lost on, with its data"
    ELSEWHERE = "another cluster, or the same one restarted empty"


@dataclass(frozen=True)
class MethodTraits:
    """One row of the table.

    ``waits`` is how long the method itself may block on the member: ``0.0`` seconds, ``math.inf``, or
    the name of the argument that says it.
    """

    kind: Idempotency
    waits: float | str = 0.0
    bond: Affinity | None = None


def traits_of(structure: str, name: str) -> MethodTraits:
    """The row of a method, ``ONCE`` for one that the table does not know.

    :param structure: name of the official class, such as ``"Map"``
    :param name: name of the method
    """
    return TABLE.get(structure, {}).get(name, _UNKNOWN)


def may_repeat(kind: Idempotency, policy: Repeat, fate: Outcome, where: RepeatOn) -> bool:
    """Whether an operation that was lost is done again."""
    if fate is Outcome.NOT_RUN:
        return True
    if kind in (Idempotency.LISTEN, Idempotency.UNLISTEN):
        return True
    if policy is Repeat.NONE:
        return False
    if kind is Idempotency.READ:
        return True
    if policy is Repeat.READS:
        return False
    if kind is Idempotency.REPEATABLE_ELSEWHERE:
        return where is RepeatOn.ELSEWHERE
    return kind is Idempotency.REPEATABLE


_UNKNOWN = MethodTraits(Idempotency.ONCE)


def _rows(
    *,
    read: str = "",
    repeatable: str = "",
    elsewhere: str = "",
    once: str = "",
    listen: str = "",
    unlisten: str = "",
    local: str = "",
    bound: str = "",
    special: Mapping[str, MethodTraits] | None = None,
) -> dict[str, MethodTraits]:
    rows: dict[str, MethodTraits] = {}
    for kind, names in (
        (Idempotency.READ, read),
        (Idempotency.REPEATABLE, repeatable),
        (Idempotency.REPEATABLE_ELSEWHERE, elsewhere),
        (Idempotency.ONCE, once),
        (Idempotency.LISTEN, listen),
        (Idempotency.UNLISTEN, unlisten),
        (Idempotency.LOCAL, local),
        (Idempotency.BOUND, bound),
    ):
        rows.update({name: MethodTraits(kind) for name in names.split()})
    rows.update(special or {})
    return rows


_COMMON = {"blocking": MethodTraits(Idempotency.LOCAL), "destroy": MethodTraits(Idempotency.REPEATABLE)}

_LOCKS = {
    "lock": MethodTraits(Idempotency.ONCE, waits=math.inf, bond=Affinity.LOCK),
    "try_lock": MethodTraits(Idempotency.ONCE, waits="timeout", bond=Affinity.LOCK),
    "unlock": MethodTraits(Idempotency.ONCE, bond=Affinity.UNLOCK),
}

TABLE: Mapping[str, Mapping[str, MethodTraits]] = {
    "Map": _COMMON
    | _rows(
        read="get get_all contains_key contains_value size is_empty is_locked key_set values"
        " entry_set get_entry_view project aggregate",
        repeatable="set put_all put_transient delete remove_all set_ttl evict_all clear flush"
        " load_all add_index",
        elsewhere="put remove evict",
        once="put_if_absent replace replace_if_same remove_if_same execute_on_entries"
        " execute_on_key execute_on_keys add_interceptor remove_interceptor",
        listen="add_entry_listener",
        unlisten="remove_entry_listener",
        special=_LOCKS
        | {
            "force_unlock": MethodTraits(Idempotency.ONCE),
            "try_put": MethodTraits(Idempotency.ONCE, waits="timeout"),
            "try_remove": MethodTraits(Idempotency.ONCE, waits="timeout"),
        },
    ),
    "ReplicatedMap": _COMMON
    | _rows(
        read="get contains_key contains_value size is_empty key_set values entry_set",
        repeatable="put_all clear",
        elsewhere="put remove",
        listen="add_entry_listener",
        unlisten="remove_entry_listener",
    ),
    "MultiMap": _COMMON
    | _rows(
        read="get contains_key contains_value contains_entry size is_locked key_set values"
        " entry_set value_count",
        repeatable="clear",
        elsewhere="remove_all",
        once="put put_all remove",
        listen="add_entry_listener",
        unlisten="remove_entry_listener",
        special=_LOCKS | {"force_unlock": MethodTraits(Idempotency.ONCE)},
    ),
    "Queue": _COMMON
    | _rows(
        read="peek size is_empty iterator contains contains_all remaining_capacity",
        repeatable="clear",
        elsewhere="remove_all retain_all",
        once="add add_all drain_to remove",
        listen="add_listener",
        unlisten="remove_listener",
        special={
            "put": MethodTraits(Idempotency.ONCE, waits=math.inf),
            "take": MethodTraits(Idempotency.ONCE, waits=math.inf),
            "offer": MethodTraits(Idempotency.ONCE, waits="timeout"),
            "poll": MethodTraits(Idempotency.ONCE, waits="timeout"),
        },
    ),
    "List": _COMMON
    | _rows(
        read="get get_all contains contains_all index_of last_index_of iterator list_iterator"
        " sub_list size is_empty",
        repeatable="clear",
        elsewhere="set_at remove_all retain_all",
        once="add add_all add_all_at add_at remove remove_at",
        listen="add_listener",
        unlisten="remove_listener",
    ),
    "Set": _COMMON
    | _rows(
        read="contains contains_all get_all size is_empty",
        repeatable="clear",
        elsewhere="add add_all remove remove_all retain_all",
        listen="add_listener",
        unlisten="remove_listener",
    ),
    "Ringbuffer": _COMMON
    | _rows(
        read="capacity size remaining_capacity",
        special={
            "add": MethodTraits(Idempotency.ONCE, bond=Affinity.GIVES_SEQUENCE),
            "add_all": MethodTraits(Idempotency.ONCE, bond=Affinity.GIVES_SEQUENCE),
            "head_sequence": MethodTraits(Idempotency.READ, bond=Affinity.GIVES_SEQUENCE),
            "tail_sequence": MethodTraits(Idempotency.READ, bond=Affinity.GIVES_SEQUENCE),
            "read_one": MethodTraits(Idempotency.READ, waits=math.inf, bond=Affinity.TAKES_SEQUENCE),
            "read_many": MethodTraits(Idempotency.READ, waits="min_count", bond=Affinity.TAKES_SEQUENCE),
        },
    ),
    "Topic": _COMMON | _rows(once="publish publish_all", listen="add_listener", unlisten="remove_listener"),
    "ReliableTopic": _COMMON
    | _rows(once="publish publish_all", listen="add_listener", unlisten="remove_listener"),
    "PNCounter": _COMMON
    | _rows(
        read="get",
        once="get_and_add add_and_get get_and_subtract subtract_and_get get_and_decrement"
        " decrement_and_get get_and_increment increment_and_get",
        local="reset",
    ),
    "FlakeIdGenerator": _COMMON | _rows(repeatable="new_id"),
    "VectorCollection": _COMMON
    | _rows(
        read="get size search_near_vector",
        repeatable="set put_all delete clear optimize",
        elsewhere="put remove",
        once="put_if_absent",
    ),
    "Executor": _COMMON
    | _rows(
        read="is_shutdown",
        repeatable="shutdown",
        once="execute_on_key_owner execute_on_member execute_on_members execute_on_all_members",
    ),
    "AtomicLong": _COMMON
    | _rows(
        read="get apply",
        repeatable="set",
        once="add_and_get get_and_add get_and_set get_and_increment get_and_decrement"
        " increment_and_get decrement_and_get compare_and_set alter alter_and_get get_and_alter",
    ),
    "AtomicReference": _COMMON
    | _rows(
        read="get contains is_none apply",
        repeatable="set clear",
        once="compare_and_set get_and_set alter alter_and_get get_and_alter",
    ),
    "CountDownLatch": _COMMON
    | _rows(
        read="get_count",
        special={
            "count_down": MethodTraits(Idempotency.ONCE),
            "try_set_count": MethodTraits(Idempotency.ONCE),
            "await_latch": MethodTraits(Idempotency.READ, waits="timeout"),
        },
    ),
    "FencedLock": _COMMON
    | _rows(
        read="is_locked is_locked_by_current_thread get_lock_count",
        local="get_group_id",
        special=_LOCKS,
    ),
    "Semaphore": _COMMON
    | _rows(
        read="available_permits",
        once="init increase_permits reduce_permits",
        special={
            "acquire": MethodTraits(Idempotency.ONCE, waits=math.inf, bond=Affinity.TAKES_PERMITS),
            "try_acquire": MethodTraits(Idempotency.ONCE, waits="timeout", bond=Affinity.TAKES_PERMITS),
            "drain_permits": MethodTraits(Idempotency.ONCE, bond=Affinity.DRAINS_PERMITS),
            "release": MethodTraits(Idempotency.ONCE, bond=Affinity.GIVES_PERMITS),
        },
    ),
    # A query is a READ, which only its text tells.
    "SqlService": _rows(once="execute"),
    "SqlResult": _rows(bound="close iterator", local="get_row_metadata is_row_set update_count"),
    "Transaction": _rows(
        repeatable="begin",
        bound="commit rollback",
        local="get_list get_map get_multi_map get_queue get_set",
    ),
    "TransactionalList": _rows(bound="add remove size"),
    "TransactionalMap": _rows(
        bound="contains_key delete get get_for_update is_empty key_set put put_if_absent remove"
        " remove_if_same replace replace_if_same set size values"
    ),
    "TransactionalMultiMap": _rows(bound="get put remove remove_all size value_count"),
    "TransactionalQueue": _rows(
        bound="size",
        special={
            "offer": MethodTraits(Idempotency.BOUND, waits="timeout"),
            "peek": MethodTraits(Idempotency.BOUND, waits="timeout"),
            "poll": MethodTraits(Idempotency.BOUND, waits="timeout"),
            "take": MethodTraits(Idempotency.BOUND, waits=math.inf),
        },
    ),
    "TransactionalSet": _rows(bound="add remove size"),
    "HazelcastClient": _rows(
        read="get_distributed_objects",
        repeatable="create_vector_collection_config",
        listen="add_distributed_object_listener",
        unlisten="remove_distributed_object_listener",
        local="get_executor get_flake_id_generator get_list get_map get_multi_map get_pn_counter"
        " get_queue get_reliable_topic get_replicated_map get_ringbuffer get_set get_topic"
        " get_vector_collection new_transaction shutdown",
    ),
    "CPSubsystem": _rows(
        local="get_atomic_long get_atomic_reference get_count_down_latch get_lock get_semaphore"
    ),
}
