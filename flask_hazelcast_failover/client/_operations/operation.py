"""One operation: a call of one method, and what is known of it once it was lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    OperationTimeoutError,
    TargetDisconnectedError,
)

from flask_hazelcast_failover.client._connect.link import Link, LinkEnded, Overdue, ProxyKey
from flask_hazelcast_failover.client._operations.affinity import Holder, holder_of
from flask_hazelcast_failover.client._operations.idempotency import MethodTraits, Outcome

__all__ = ["LOSS_ERRORS", "MULTI_REQUEST_METHODS", "LostOperation", "Operation", "own_timeout", "with_holder"]

# What a real proxy raises when its link, or the member that was asked, is gone or too slow.
LOSS_ERRORS = (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    LinkEnded,
    OperationTimeoutError,
    Overdue,
    TargetDisconnectedError,
)

# Made of several requests: the first may have run when the official client refuses to send the last.
MULTI_REQUEST_METHODS = frozenset(
    {
        ("Executor", "execute_on_all_members"),
        ("Executor", "execute_on_members"),
        ("Map", "get_all"),
        ("Map", "put_all"),
        ("MultiMap", "put_all"),
        ("VectorCollection", "put_all"),
    }
)

# Arguments that say how many elements are waited for, as long as it takes.
_COUNTS = ("min_count",)


class Operation(NamedTuple):
    """One call of one method."""

    key: ProxyKey
    name: str
    method: MethodTraits
    start: Callable[[Any, Link], Any]  # gets the real proxy and the link that it belongs to
    limit: float  # seconds to wait for a live cluster's answer
    thread: int  # the id of who called it
    began: float  # when it was called, monotonic seconds
    section: int | None = None
    is_numbered: bool = False  # members take it for the same one when it is sent again by the same client id
    holder: Holder | None = None

    @property
    def title(self) -> str:
        """What it is called in errors."""
        return f"{self.key.structure}.{self.name} on {self.key.name!r}"


class LostOperation(NamedTuple):
    """An operation that was lost: where and when last, since when, and on which data it may have run."""

    link: Link
    error: Exception
    at: float  # monotonic seconds of this loss
    since: float  # and of the first, which bounds all repeating
    doubts: frozenset[int] = frozenset()

    @property
    def fate(self) -> Outcome:
        """What is known of the operation."""
        return Outcome.UNKNOWN if self.doubts else Outcome.NOT_RUN


def own_timeout(method: MethodTraits, args: tuple[Any, ...], kwargs: dict[str, Any], position: int) -> float:
    """How long a call may block on the member, in seconds, beyond the time for an answer.

    :param position: where the argument that says it stands among the positional ones
    """
    if not isinstance(method.waits, str):
        return method.waits
    given = args[position] if len(args) > position else kwargs.get(method.waits, 0)
    if not isinstance(given, (int, float)) or math.isnan(given):
        return 0.0
    if method.waits in _COUNTS:
        return math.inf if given > 0 else 0.0
    return max(0.0, float(given))


def with_holder(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
    """The operation with who holds the lock, or uses the sequence, that it is about."""
    bond = operation.method.bond
    if bond is None:
        return operation
    return operation._replace(holder=holder_of(bond, operation.key, args, kwargs))
