"""What the controller is told: one frozen value for each thing that ended or is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from flask_hazelcast_failover.client._controller.cluster import Failures, LinkView
from flask_hazelcast_failover.client.events import Reason

__all__ = [
    "AddressesVerified",
    "AttemptEnded",
    "Begin",
    "Checked",
    "Drained",
    "Failures",
    "LinkDown",
    "Message",
    "Prepared",
    "ReadyAnswered",
    "Resolved",
    "SwitchRequest",
]


@dataclass(frozen=True)
class Begin:
    """Somebody wants a connection."""


@dataclass(frozen=True)
class LinkDown:
    """The last connection of a link was closed."""

    link: LinkView


@dataclass(frozen=True)
class AttemptEnded:
    """An attempt has a link, or the reason why not.

    ``preferred``: the index of the cluster to go to first, if there is one.
    """

    index: int
    attempt: int
    link: LinkView | None
    why: str = ""
    refusing: bool = False
    preferred: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A link can become the active one, or why not."""

    link: LinkView
    why: str | None = None


@dataclass(frozen=True)
class Drained:
    """A link that was left has no operation in flight any more, or still has after the time for it.

    ``epoch`` is the one that it was left in: it may have been the active one again since.
    """

    link: LinkView
    epoch: int
    operations: int


@dataclass(frozen=True)
class Checked:
    """How the members of a link answer health checks.

    ``failures``: of the members that have not answered since. ``latency``: how long the slowest of the answers that came
    since the last report took, seconds.
    """

    link: LinkView
    failures: Mapping[UUID, Failures]
    latency: float | None


@dataclass(frozen=True)
class ReadyAnswered:
    """What the ready check said of a link."""

    link: LinkView
    ready: bool


@dataclass(frozen=True)
class Resolved:
    """What DNS said of a cluster: the addresses to use, and what was wrong if the lookup failed."""

    index: int
    addresses: tuple[str, ...]
    error: str | None


@dataclass(frozen=True)
class AddressesVerified:
    """A second link to a cluster, to where its name led.

    ``confirmed``: how many answers of DNS had led to the cluster's own members by then.
    """

    index: int
    link: LinkView
    confirmed: int


@dataclass(frozen=True)
class SwitchRequest:
    """Somebody wants to be on a cluster.

    ``holds``: stay there, without failback. ``done`` is called with the error, or ``None``.
    """

    index: int
    reason: Reason
    holds: bool
    done: Callable[[Exception | None], None] = field(compare=False)


Message: TypeAlias = (
    Begin
    | LinkDown
    | AttemptEnded
    | Prepared
    | Drained
    | Checked
    | ReadyAnswered
    | Resolved
    | AddressesVerified
    | SwitchRequest
)
