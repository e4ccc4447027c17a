"""The method table: what may be repeated after a loss, for every method of every structure.

A method that the table does not know is ``ONCE``: repeated only if it did not run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..options import Repeat


class Idempotency(Enum):
    """What running a method twice means."""

    READ = "changes nothing"
    REPEATABLE = "twice has the effect and the answer of once"
    REPEATABLE_ELSEWHERE = "twice has the effect of once, but the second answer differs on the same data"
    ONCE = "twice has another effect than once"
    LISTEN = "registers a listener, which follows the client"
    UNLISTEN = "removes a listener"
    LOCAL = "sends no request"
    TRANSACTIONAL = "belongs to a transaction or a cursor, and ends with it"


class Affinity(Enum):
    """What ties a method's arguments or answer to the cluster that it ran on."""

    LOCKS = "its caller holds a lock afterwards"
    UNLOCKS = "its caller releases a lock"
    ACQUIRES_PERMITS = "its caller holds permits of a semaphore afterwards"
    DRAINS_PERMITS = "its answer is how many permits of a semaphore its caller holds afterwards"
    RELEASES_PERMITS = "its caller releases permits of a semaphore"
    RETURNS_SEQUENCE = "its answer is a sequence of one ring buffer"
    USES_SEQUENCE = "its argument is a sequence of one ring buffer"


class Outcome(Enum):
    """What is known of an operation that was lost."""

    NOT_RUN = "it did not run"
    UNKNOWN = "it may have run"


class RepeatOn(Enum):
    """Where a lost operation would run again."""

    SAME_DATA = "the cluster that it was lost on, with its data"
    OTHER_DATA = "another cluster, or the same one restarted empty"


@dataclass(frozen=True)
class MethodTraits:
    """One row of the table."""

    idempotency: Idempotency
    # How long it may block on the member: seconds, math.inf, or the name of the argument that says it.
    own_timeout: float | str = 0.0
    affinity: Affinity | None = None


READ = MethodTraits(Idempotency.READ)
_UNKNOWN = MethodTraits(Idempotency.ONCE)


def traits_of(structure: str, name: str) -> MethodTraits:
    """The row of a method of an official class such as ``"Map"``."""
    return TABLE.get(structure, {}).get(name, _UNKNOWN)


def may_repeat(idempotency: Idempotency, policy: Repeat, outcome: Outcome, repeat_on: RepeatOn) -> bool:
    """Whether an operation that was lost is repeated."""
    if outcome is Outcome.NOT_RUN or idempotency in (Idempotency.LISTEN, Idempotency.UNLISTEN):
        return True
    if idempotency is Idempotency.READ:
        return policy is not Repeat.NONE
    if policy is not Repeat.REPEATABLE:
        return False
    if idempotency is Idempotency.REPEATABLE_ELSEWHERE:
        return repeat_on is RepeatOn.OTHER_DATA
    return idempotency is Idempotency.REPEATABLE


_Rows = dict[str, MethodTraits]


def _rows(own_timeout: float | str = 0.0, affinity: Affinity | None = None, /, **methods: str) -> _Rows:
    """Rows that are alike but for the idempotency: its name in lower case, and the names of its methods."""
    return {
        name: MethodTraits(Idempotency[idempotency.upper()], own_timeout, affinity)
        for idempotency, names in methods.items()
        for name in names.split()
    }


def _structure(*parts: _Rows, **methods: str) -> _Rows:
    """The rows of a structure: its parts, and the methods without own timeout or affinity."""
    rows = _rows(local="blocking", repeatable="destroy") | _rows(**methods)
    for part in parts:
        rows |= part
    return rows


_ENTRY_LISTENERS = _rows(listen="add_entry_listener", unlisten="remove_entry_listener")
_LISTENERS = _rows(listen="add_listener", unlisten="remove_listener")
_LOCKS = (
    _rows(math.inf, Affinity.LOCKS, once="lock")
    | _rows("timeout", Affinity.LOCKS, once="try_lock")
    | _rows(0.0, Affinity.UNLOCKS, once="unlock")
)

TABLE: Mapping[str, Mapping[str, MethodTraits]] = {
    "Map": _structure(
        _ENTRY_LISTENERS,
        _LOCKS,
        _rows("timeout", once="try_put try_remove"),
        read="get get_all contains_key contains_value size is_empty is_locked key_set values entry_set"
        " get_entry_view project aggregate",
        repeatable="set put_all put_transient delete remove_all set_ttl evict_all clear flush load_all add_index",
        repeatable_elsewhere="put remove evict",
        once="put_if_absent replace replace_if_same remove_if_same execute_on_entries execute_on_key"
        " execute_on_keys add_interceptor remove_interceptor force_unlock",
    ),
    "ReplicatedMap": _structure(
        _ENTRY_LISTENERS,
        read="get contains_key contains_value size is_empty key_set values entry_set",
        repeatable="put_all clear",
        repeatable_elsewhere="put remove",
    ),
    "MultiMap": _structure(
        _ENTRY_LISTENERS,
        _LOCKS,
        read="get contains_key contains_value contains_entry size is_locked key_set values entry_set value_count",
        repeatable="clear",
        repeatable_elsewhere="remove_all",
        once="put put_all remove force_unlock",
    ),
    "Queue": _structure(
        _LISTENERS,
        _rows(math.inf, once="put take"),
        _rows("timeout", once="offer poll"),
        read="peek size is_empty iterator contains contains_all remaining_capacity",
        repeatable="clear",
        repeatable_elsewhere="remove_all retain_all",
        once="add add_all drain_to remove",
    ),
    "List": _structure(
        _LISTENERS,
        read="get get_all contains contains_all index_of last_index_of iterator list_iterator sub_list size"
        " is_empty",
        repeatable="clear",
        repeatable_elsewhere="set_at remove_all retain_all",
        once="add add_all add_all_at add_at remove remove_at",
    ),
    "Set": _structure(
        _LISTENERS,
        read="contains contains_all get_all size is_empty",
        repeatable="clear",
        repeatable_elsewhere="add add_all remove remove_all retain_all",
    ),
    "Ringbuffer": _structure(
        _rows(0.0, Affinity.RETURNS_SEQUENCE, once="add add_all", read="head_sequence tail_sequence"),
        _rows(math.inf, Affinity.USES_SEQUENCE, read="read_one"),
        _rows("min_count", Affinity.USES_SEQUENCE, read="read_many"),
        read="capacity size remaining_capacity",
    ),
    "Topic": _structure(_LISTENERS, once="publish publish_all"),
    "ReliableTopic": _structure(_LISTENERS, once="publish publish_all"),
    "PNCounter": _structure(
        read="get",
        once="get_and_add add_and_get get_and_subtract subtract_and_get get_and_decrement decrement_and_get"
        " get_and_increment increment_and_get",
        local="reset",
    ),
    "FlakeIdGenerator": _structure(repeatable="new_id"),
    "VectorCollection": _structure(
        read="get size search_near_vector",
        repeatable="set put_all delete clear optimize",
        repeatable_elsewhere="put remove",
        once="put_if_absent",
    ),
    "Executor": _structure(
        read="is_shutdown",
        repeatable="shutdown",
        once="execute_on_key_owner execute_on_member execute_on_members execute_on_all_members",
    ),
    "AtomicLong": _structure(
        read="get apply",
        repeatable="set",
        once="add_and_get get_and_add get_and_set get_and_increment get_and_decrement increment_and_get"
        " decrement_and_get compare_and_set alter alter_and_get get_and_alter",
    ),
    "AtomicReference": _structure(
        read="get contains is_none apply",
        repeatable="set clear",
        once="compare_and_set get_and_set alter alter_and_get get_and_alter",
    ),
    "CountDownLatch": _structure(
        _rows("timeout", read="await_latch"), read="get_count", once="count_down try_set_count"
    ),
    "FencedLock": _structure(
        _LOCKS, read="is_locked is_locked_by_current_thread get_lock_count", local="get_group_id"
    ),
    "Semaphore": _structure(
        _rows(math.inf, Affinity.ACQUIRES_PERMITS, once="acquire"),
        _rows("timeout", Affinity.ACQUIRES_PERMITS, once="try_acquire"),
        _rows(0.0, Affinity.DRAINS_PERMITS, once="drain_permits"),
        _rows(0.0, Affinity.RELEASES_PERMITS, once="release"),
        read="available_permits",
        once="init increase_permits reduce_permits",
    ),
    "SqlService": _rows(once="execute"),  # a query is a READ, which only its text shows
    "SqlResult": _rows(transactional="close iterator", local="get_row_metadata is_row_set update_count"),
    "Transaction": _rows(
        repeatable="begin",
        transactional="commit rollback",
        local="get_list get_map get_multi_map get_queue get_set",
    ),
    "TransactionalList": _rows(transactional="add remove size"),
    "TransactionalMap": _rows(
        transactional="contains_key delete get get_for_update is_empty key_set put put_if_absent remove"
        " remove_if_same replace replace_if_same set size values"
    ),
    "TransactionalMultiMap": _rows(transactional="get put remove remove_all size value_count"),
    "TransactionalQueue": _rows("timeout", transactional="offer peek poll")
    | _rows(math.inf, transactional="take")
    | _rows(transactional="size"),
    "TransactionalSet": _rows(transactional="add remove size"),
    "HazelcastClient": _rows(
        read="get_distributed_objects",
        repeatable="create_vector_collection_config",
        listen="add_distributed_object_listener",
        unlisten="remove_distributed_object_listener",
        local="get_executor get_flake_id_generator get_list get_map get_multi_map get_pn_counter get_queue"
        " get_reliable_topic get_replicated_map get_ringbuffer get_set get_topic get_vector_collection"
        " new_transaction shutdown",
    ),
    "CPSubsystem": _rows(
        local="get_atomic_long get_atomic_reference get_count_down_latch get_lock get_semaphore"
    ),
}
