"""Messages to the controller: one frozen value for each thing that has ended, or that is requested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from ..._threads import Promise
from ..events import Reason
from .effects import LinkView
from .health import Failures


@dataclass(frozen=True)
class Begin:
    """A connection is wanted."""


@dataclass(frozen=True)
class LinkDown:
    """The last connection of a link was closed."""

    link: LinkView


@dataclass(frozen=True)
class AttemptEnded:
    """An attempt has opened a link, or the reason why not.

    ``refusing``: whether the cluster answered with a refusal. ``preferred``: the index of the cluster that the fleet
    is on, if there is one.
    """

    index: int
    attempt: int
    link: LinkView | None
    why: str = ""
    refusing: bool = False
    preferred: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A link has its proxies and listeners and can become the active one, or the reason why not."""

    link: LinkView
    why: str | None = None


@dataclass(frozen=True)
class Drained:
    """A link that operations have left has no operation in flight any more, or ``drain_timeout`` is over.

    ``epoch`` is the one in which it was left: it may have been the active one again since.
    """

    link: LinkView
    epoch: int
    operations: int


@dataclass(frozen=True)
class Checked:
    """How the members of a link answer health checks.

    ``failures``: of the members whose last checks failed. ``latency``: of the slowest answer since the last report,
    seconds.
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
    """A second link to a cluster was opened, where its name leads now.

    ``own_answers``: how many answers of DNS had led to the cluster's own members when that began.
    """

    index: int
    link: LinkView
    own_answers: int


@dataclass(frozen=True)
class SwitchRequest:
    """A switch to a cluster is requested.

    ``holds``: stay there, without failback. ``done`` ends when operations go there, or with the error.
    """

    index: int
    reason: Reason
    holds: bool
    done: Promise[None] = field(default_factory=Promise, compare=False)


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
