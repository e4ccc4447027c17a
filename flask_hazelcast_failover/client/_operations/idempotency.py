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
    """One row of the table.

    ``own_timeout`` is how long the method itself may block on the member: seconds, ``math.inf``, or the
    name of the argument that says it.
    """

    idempotency: Idempotency
    own_timeout: float | str = 0.0
    affinity: Affinity | None = None


def traits_of(structure: str, name: str) -> MethodTraits:
    """The row of a method, ``ONCE`` for one that the table does not know.

    :param structure: name of the official class, such as ``"Map"``
    :param name: name of the method
    """
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

_UNKNOWN = MethodTraits(Idempotency.ONCE)


def _rows(**methods: str) -> _Rows:
    """Rows of methods without own timeout or affinity: an idempotency in lower case, and the methods' names."""
    return {
        name: MethodTraits(Idempotency[idempotency.upper()])
        for idempotency, names in methods.items()
        for name in names.split()
    }


def _read(own_timeout: float | str = 0.0, affinity: Affinity | None = None) -> MethodTraits:
    return MethodTraits(Idempotency.READ, own_timeout, affinity)


def _once(own_timeout: float | str = 0.0, affinity: Affinity | None = None) -> MethodTraits:
    return MethodTraits(Idempotency.ONCE, own_timeout, affinity)


def _transactional(own_timeout: float | str) -> MethodTraits:
    return MethodTraits(Idempotency.TRANSACTIONAL, own_timeout)


_COMMON = _rows(local="blocking", repeatable="destroy")

_ENTRY_LISTENERS = _rows(listen="add_entry_listener", unlisten="remove_entry_listener")

_LISTENERS = _rows(listen="add_listener", unlisten="remove_listener")

_LOCKS = {
    "lock": _once(math.inf, Affinity.LOCKS),
    "try_lock": _once("timeout", Affinity.LOCKS),
    "unlock": _once(affinity=Affinity.UNLOCKS),
}

_MAP = _rows(
    read="get get_all contains_key contains_value size is_empty is_locked key_set values entry_set"
    " get_entry_view project aggregate",
    repeatable="set put_all put_transient delete remove_all set_ttl evict_all clear flush load_all add_index",
    repeatable_elsewhere="put remove evict",
    once="put_if_absent replace replace_if_same remove_if_same execute_on_entries execute_on_key"
    " execute_on_keys add_interceptor remove_interceptor force_unlock",
) | {
    "try_put": _once("timeout"),
    "try_remove": _once("timeout"),
}

_REPLICATED_MAP = _rows(
    read="get contains_key contains_value size is_empty key_set values entry_set",
    repeatable="put_all clear",
    repeatable_elsewhere="put remove",
)

_MULTI_MAP = _rows(
    read="get contains_key contains_value contains_entry size is_locked key_set values entry_set value_count",
    repeatable="clear",
    repeatable_elsewhere="remove_all",
    once="put put_all remove force_unlock",
)

_QUEUE = _rows(
    read="peek size is_empty iterator contains contains_all remaining_capacity",
    repeatable="clear",
    repeatable_elsewhere="remove_all retain_all",
    once="add add_all drain_to remove",
) | {
    "put": _once(math.inf),
    "take": _once(math.inf),
    "offer": _once("timeout"),
    "poll": _once("timeout"),
}

_LIST = _rows(
    read="get get_all contains contains_all index_of last_index_of iterator list_iterator sub_list size is_empty",
    repeatable="clear",
    repeatable_elsewhere="set_at remove_all retain_all",
    once="add add_all add_all_at add_at remove remove_at",
)

_SET = _rows(
    read="contains contains_all get_all size is_empty",
    repeatable="clear",
    repeatable_elsewhere="add add_all remove remove_all retain_all",
)

_RINGBUFFER = _rows(read="capacity size remaining_capacity") | {
    "add": _once(affinity=Affinity.RETURNS_SEQUENCE),
    "add_all": _once(affinity=Affinity.RETURNS_SEQUENCE),
    "head_sequence": _read(affinity=Affinity.RETURNS_SEQUENCE),
    "tail_sequence": _read(affinity=Affinity.RETURNS_SEQUENCE),
    "read_one": _read(math.inf, Affinity.USES_SEQUENCE),
    "read_many": _read("min_count", Affinity.USES_SEQUENCE),
}

_TOPIC = _rows(once="publish publish_all")

_PN_COUNTER = _rows(
    read="get",
    once="get_and_add add_and_get get_and_subtract subtract_and_get get_and_decrement decrement_and_get"
    " get_and_increment increment_and_get",
    local="reset",
)

_VECTOR_COLLECTION = _rows(
    read="get size search_near_vector",
    repeatable="set put_all delete clear optimize",
    repeatable_elsewhere="put remove",
    once="put_if_absent",
)

_EXECUTOR = _rows(
    read="is_shutdown",
    repeatable="shutdown",
    once="execute_on_key_owner execute_on_member execute_on_members execute_on_all_members",
)

_ATOMIC_LONG = _rows(
    read="get apply",
    repeatable="set",
    once="add_and_get get_and_add get_and_set get_and_increment get_and_decrement increment_and_get"
    " decrement_and_get compare_and_set alter alter_and_get get_and_alter",
)

_ATOMIC_REFERENCE = _rows(
    read="get contains is_none apply",
    repeatable="set clear",
    once="compare_and_set get_and_set alter alter_and_get get_and_alter",
)

_COUNT_DOWN_LATCH = _rows(read="get_count", once="count_down try_set_count") | {
    "await_latch": _read("timeout")
}

_FENCED_LOCK = _rows(read="is_locked is_locked_by_current_thread get_lock_count", local="get_group_id")

_SEMAPHORE = _rows(read="available_permits", once="init increase_permits reduce_permits") | {
    "acquire": _once(math.inf, Affinity.ACQUIRES_PERMITS),
    "try_acquire": _once("timeout", Affinity.ACQUIRES_PERMITS),
    "drain_permits": _once(affinity=Affinity.DRAINS_PERMITS),
    "release": _once(affinity=Affinity.RELEASES_PERMITS),
}

_TRANSACTION = _rows(
    repeatable="begin",
    transactional="commit rollback",
    local="get_list get_map get_multi_map get_queue get_set",
)

_TRANSACTIONAL_MAP = _rows(
    transactional="contains_key delete get get_for_update is_empty key_set put put_if_absent remove"
    " remove_if_same replace replace_if_same set size values"
)

_TRANSACTIONAL_QUEUE = _rows(transactional="size") | {
    "offer": _transactional("timeout"),
    "peek": _transactional("timeout"),
    "poll": _transactional("timeout"),
    "take": _transactional(math.inf),
}

_CLIENT = _rows(
    read="get_distributed_objects",
    repeatable="create_vector_collection_config",
    listen="add_distributed_object_listener",
    unlisten="remove_distributed_object_listener",
    local="get_executor get_flake_id_generator get_list get_map get_multi_map get_pn_counter get_queue"
    " get_reliable_topic get_replicated_map get_ringbuffer get_set get_topic get_vector_collection"
    " new_transaction shutdown",
)

TABLE: Mapping[str, Mapping[str, MethodTraits]] = {
    "Map": _COMMON | _ENTRY_LISTENERS | _LOCKS | _MAP,
    "ReplicatedMap": _COMMON | _ENTRY_LISTENERS | _REPLICATED_MAP,
    "MultiMap": _COMMON | _ENTRY_LISTENERS | _LOCKS | _MULTI_MAP,
    "Queue": _COMMON | _LISTENERS | _QUEUE,
    "List": _COMMON | _LISTENERS | _LIST,
    "Set": _COMMON | _LISTENERS | _SET,
    "Ringbuffer": _COMMON | _RINGBUFFER,
    "Topic": _COMMON | _LISTENERS | _TOPIC,
    "ReliableTopic": _COMMON | _LISTENERS | _TOPIC,
    "PNCounter": _COMMON | _PN_COUNTER,
    "FlakeIdGenerator": _COMMON | _rows(repeatable="new_id"),
    "VectorCollection": _COMMON | _VECTOR_COLLECTION,
    "Executor": _COMMON | _EXECUTOR,
    "AtomicLong": _COMMON | _ATOMIC_LONG,
    "AtomicReference": _COMMON | _ATOMIC_REFERENCE,
    "CountDownLatch": _COMMON | _COUNT_DOWN_LATCH,
    "FencedLock": _COMMON | _LOCKS | _FENCED_LOCK,
    "Semaphore": _COMMON | _SEMAPHORE,
    "SqlService": _rows(once="execute"),  # a query is a READ, which only its text shows
    "SqlResult": _rows(transactional="close iterator", local="get_row_metadata is_row_set update_count"),
    "Transaction": _TRANSACTION,
    "TransactionalList": _rows(transactional="add remove size"),
    "TransactionalMap": _TRANSACTIONAL_MAP,
    "TransactionalMultiMap": _rows(transactional="get put remove remove_all size value_count"),
    "TransactionalQueue": _TRANSACTIONAL_QUEUE,
    "TransactionalSet": _rows(transactional="add remove size"),
    "HazelcastClient": _CLIENT,
    "CPSubsystem": _rows(
        local="get_atomic_long get_atomic_reference get_count_down_latch get_lock get_semaphore"
    ),
}
