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

__all__ = ["TABLE", "Bond", "Fate", "Kind", "Method", "Next", "method_of", "repeats"]


class Kind(Enum):
    """What doing a method twice means."""

    READ = "changes nothing"
    REPEATABLE = "twice is as once, and the answer does not tell"
    REPEATABLE_ELSEWHERE = "twice is as once, but on the same cluster the answer would tell"
    ONCE = "twice is not as once"
    LISTEN = "registers a listener, which the client carries along"
    UNLISTEN = "takes a listener off"
    LOCAL = "asks no cluster"
    BOUND = "belongs to a transaction or a cursor, and ends with it"


class Bond(Enum):
    """What ties a method's arguments or answer to the cluster that it ran on."""

    LOCK = "its caller holds a lock afterwards"
    UNLOCK = "its caller gives a lock back"
    TAKES_PERMITS = "its caller holds permits of a semaphore afterwards"
    DRAINS_PERMITS = "its answer is how many permits of a semaphore its caller holds afterwards"
    GIVES_PERMITS = "its caller gives permits of a semaphore back"
    GIVES_SEQUENCE = "its answer is a sequence of one ring buffer"
    TAKES_SEQUENCE = "its argument is a sequence of one ring buffer"


class Fate(Enum):
    """What is known of an operation that was lost."""

    NOT_RUN = "it surely did not run"
    UNKNOWN = "it may have run"


class Next(Enum):
    """Where a lost operation would go next."""

    SAME = "the cluster that it was lost on, with its data"
    ELSEWHERE = "another cluster, or the same one restarted empty"


@dataclass(frozen=True)
class Method:
    """One row of the table.

    ``waits`` is how long the method itself may block on the member: ``0.0`` seconds, ``math.inf``, or
    the name of the argument that says it.
    """

    kind: Kind
    waits: float | str = 0.0
    bond: Bond | None = None


def method_of(structure: str, name: str) -> Method:
    """The row of a method, ``ONCE`` for one that the table does not know.

    :param structure: name of the official class, such as ``"Map"``
    :param name: name of the method
    """
    return TABLE.get(structure, {}).get(name, _UNKNOWN)


def repeats(kind: Kind, policy: Repeat, fate: Fate, where: Next) -> bool:
    """Whether an operation that was lost is done again."""
    if fate is Fate.NOT_RUN:
        return True
    if kind in (Kind.LISTEN, Kind.UNLISTEN):
        return True
    if policy is Repeat.NONE:
        return False
    if kind is Kind.READ:
        return True
    if policy is Repeat.READS:
        return False
    if kind is Kind.REPEATABLE_ELSEWHERE:
        return where is Next.ELSEWHERE
    return kind is Kind.REPEATABLE


_UNKNOWN = Method(Kind.ONCE)


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
    special: Mapping[str, Method] | None = None,
) -> dict[str, Method]:
    rows: dict[str, Method] = {}
    for kind, names in (
        (Kind.READ, read),
        (Kind.REPEATABLE, repeatable),
        (Kind.REPEATABLE_ELSEWHERE, elsewhere),
        (Kind.ONCE, once),
        (Kind.LISTEN, listen),
        (Kind.UNLISTEN, unlisten),
        (Kind.LOCAL, local),
        (Kind.BOUND, bound),
    ):
        rows.update({name: Method(kind) for name in names.split()})
    rows.update(special or {})
    return rows


_COMMON = {"blocking": Method(Kind.LOCAL), "destroy": Method(Kind.REPEATABLE)}

_LOCKS = {
    "lock": Method(Kind.ONCE, waits=math.inf, bond=Bond.LOCK),
    "try_lock": Method(Kind.ONCE, waits="timeout", bond=Bond.LOCK),
    "unlock": Method(Kind.ONCE, bond=Bond.UNLOCK),
}

TABLE: Mapping[str, Mapping[str, Method]] = {
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
            "force_unlock": Method(Kind.ONCE),
            "try_put": Method(Kind.ONCE, waits="timeout"),
            "try_remove": Method(Kind.ONCE, waits="timeout"),
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
        special=_LOCKS | {"force_unlock": Method(Kind.ONCE)},
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
            "put": Method(Kind.ONCE, waits=math.inf),
            "take": Method(Kind.ONCE, waits=math.inf),
            "offer": Method(Kind.ONCE, waits="timeout"),
            "poll": Method(Kind.ONCE, waits="timeout"),
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
            "add": Method(Kind.ONCE, bond=Bond.GIVES_SEQUENCE),
            "add_all": Method(Kind.ONCE, bond=Bond.GIVES_SEQUENCE),
            "head_sequence": Method(Kind.READ, bond=Bond.GIVES_SEQUENCE),
            "tail_sequence": Method(Kind.READ, bond=Bond.GIVES_SEQUENCE),
            "read_one": Method(Kind.READ, waits=math.inf, bond=Bond.TAKES_SEQUENCE),
            "read_many": Method(Kind.READ, waits="min_count", bond=Bond.TAKES_SEQUENCE),
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
            "count_down": Method(Kind.ONCE),
            "try_set_count": Method(Kind.ONCE),
            "await_latch": Method(Kind.READ, waits="timeout"),
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
            "acquire": Method(Kind.ONCE, waits=math.inf, bond=Bond.TAKES_PERMITS),
            "try_acquire": Method(Kind.ONCE, waits="timeout", bond=Bond.TAKES_PERMITS),
            "drain_permits": Method(Kind.ONCE, bond=Bond.DRAINS_PERMITS),
            "release": Method(Kind.ONCE, bond=Bond.GIVES_PERMITS),
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
            "offer": Method(Kind.BOUND, waits="timeout"),
            "peek": Method(Kind.BOUND, waits="timeout"),
            "poll": Method(Kind.BOUND, waits="timeout"),
            "take": Method(Kind.BOUND, waits=math.inf),
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
