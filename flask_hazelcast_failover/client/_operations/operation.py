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

from .._connect.link import Link, LinkEnded, Overdue, ProxyKey
from .affinity import Holder
from .idempotency import MethodTraits, Outcome

# What a real proxy raises when the connection to a member or the whole link is lost, or no answer comes in time.
LOSS_ERRORS = (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    LinkEnded,
    OperationTimeoutError,
    Overdue,
    TargetDisconnectedError,
)

# Made of several requests: the first may have run when the official client refuses to send the last.
_MULTI_REQUEST_METHODS = {
    "Executor": ("execute_on_all_members", "execute_on_members"),
    "Map": ("get_all", "put_all"),
    "MultiMap": ("put_all",),
    "VectorCollection": ("put_all",),
}


class Operation(NamedTuple):
    """One call of one method."""

    key: ProxyKey
    name: str
    traits: MethodTraits
    start: Callable[[Any, Link], Any]  # called with the real proxy and the link that it belongs to
    timeout: float  # seconds to wait for a live cluster's answer
    thread: int  # the id of the calling thread
    called_at: float  # monotonic seconds
    section_visit_id: int | None = None  # the visit that its same_cluster() section belongs to
    has_request_id: bool = False  # members recognize it when the same client identity sends it again
    holder: Holder | None = None

    @property
    def title(self) -> str:
        """What it is called in errors."""
        return f"{self.key.structure}.{self.name} on {self.key.name!r}"

    @property
    def is_one_request(self) -> bool:
        """Whether it did not run if the official client refuses to send it."""
        return self.name not in _MULTI_REQUEST_METHODS.get(self.key.structure, ())


class LostOperation(NamedTuple):
    """An operation that was lost at least once."""

    link: Link  # where it was lost last
    error: Exception
    lost_at: float  # monotonic seconds of the last loss
    first_lost_at: float  # and of the first, from which wait_timeout counts
    may_have_run_on: frozenset[int] = frozenset()  # data ids

    @property
    def outcome(self) -> Outcome:
        """What is known of the operation."""
        return Outcome.UNKNOWN if self.may_have_run_on else Outcome.NOT_RUN

    def is_link_alive(self) -> bool:
        """Whether only a member was lost, and the link stays in use."""
        return self.link.is_connected() and not isinstance(self.error, LinkEnded)


def own_timeout_of(
    traits: MethodTraits, args: tuple[Any, ...], kwargs: dict[str, Any], position: int
) -> float:
    """How long a call may block on the member, in seconds, beyond the time for an answer.

    :param position: where the argument that says it stands among the positional ones
    """
    if not isinstance(traits.own_timeout, str):
        return traits.own_timeout
    given = args[position] if len(args) > position else kwargs.get(traits.own_timeout, 0)
    if not isinstance(given, (int, float)) or math.isnan(given):
        return 0.0
    if traits.own_timeout == "min_count":  # says how many elements to wait for, without a timeout
        return math.inf if given > 0 else 0.0
    return max(0.0, float(given))
