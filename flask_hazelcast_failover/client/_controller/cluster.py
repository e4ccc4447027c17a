"""What the controller knows of one cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import NamedTuple, Protocol
from uuid import UUID

from flask_hazelcast_failover.client._identity import ClientIdentity
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client.status import ClusterStatus, Condition
from flask_hazelcast_failover.failover import ClusterConfig

__all__ = ["ClusterRecord", "Failures", "LinkView", "failed_too_often"]

# Between two attempts at a cluster that is merely absent, seconds, half of it by chance.
_ABSENT_PAUSE = 0.5
# Between two attempts at one that refuses: doubles from the first to the second, likewise.
_REFUSING_PAUSE, _LONGEST_PAUSE = 1.0, 30.0

# A member that answers pings, and no checks, is lost only after so many times as many failures.
_PINGS_ONLY = 6

_data_ids = count(1).__next__


class Failures(NamedTuple):
    """A member's failed health checks in a row: those in which it was silent, and those in which it answered pings.

    ``since``: when the first of them was sent, monotonic seconds. ``error``: the Java error that the member met last.
    """

    silent: int = 0
    pings_only: int = 0
    since: float | None = None
    error: str | None = None

    def exceed(self, limit: int) -> bool:
        """Whether they are ``limit`` or more; six times as many while the member answers pings."""
        return self.silent >= limit or self.silent + self.pings_only >= _PINGS_ONLY * limit


class LinkView(Protocol):
    """What the controller uses of a link."""

    epoch: int
    data_id: int
    visit_id: int

    def known_cluster(self) -> KnownCluster:
        """The cluster as it is now, to be found again."""

    def members(self) -> frozenset[UUID]:
        """The members that the cluster says it has."""

    def member_addresses(self) -> frozenset[str]:
        """Where these members are, "host:port"."""

    def is_connected(self) -> bool:
        """Whether a connection to at least one member is open."""


@dataclass
class ClusterRecord:
    """One cluster. Written and read by the controller's thread only."""

    config: ClusterConfig
    index: int
    addresses: tuple[str, ...]
    link: LinkView | None = None
    attempt: int | None = None  # number of the attempt under way
    tries: int = 0  # attempts that failed in this search
    began: float | None = None  # when the first attempt of this search began
    dial_at: float | None = None  # when the next attempt begins
    refusing: bool = False  # whether somebody refused us last, as against nobody answering
    pause: float = _REFUSING_PAUSE
    last_error: str | None = None
    dns_error: str | None = None
    members: frozenset[UUID] = frozenset()
    known: KnownCluster | None = None  # as last seen; replaced as a whole, so that other threads may read it
    identity: ClientIdentity | None = None  # by what its members know this client while operations go there
    left_identity: ClientIdentity | None = None  # the one before, once operations go elsewhere
    data_id: int = field(default_factory=_data_ids)
    restarted: bool = False
    is_slow: bool = False  # whether its link is made ready for so long that others are tried as well
    announced: bool = False  # whether the link was told to subscribers
    lost_at: float | None = None
    failures: Mapping[UUID, Failures] = field(default_factory=dict)  # of the members that have some
    impaired: bool = False
    latency: float | None = None
    fit_since: float | None = None  # connected and healthy without a break
    relapses: int = 0
    returned: bool = False  # was lost, and is back
    ready_asked_at: float = -math.inf
    strangers: int = 0  # answers of DNS in a row that lead to members of another cluster
    confirmed: int = 0  # answers of DNS that led to this cluster's members
    resolve_at: float | None = None

    @property
    def label(self) -> str:
        """Its label."""
        return self.config.label

    @property
    def is_forgotten(self) -> bool:
        """Whether there is no link, and no attempt now or later."""
        return self.link is None and self.attempt is None and self.dial_at is None

    def connected(self, link: LinkView, now: float) -> None:
        """A link was opened."""
        members, known = link.members(), link.known_cluster()
        if self.members and members.isdisjoint(self.members):
            self.restarted = True
            self.data_id = _data_ids()
        elif self.known is not None and self.known.id != known.id:
            self.data_id = _data_ids()  # members of it have joined another cluster meanwhile
        link.data_id = self.data_id
        self.members = members
        self.known = known
        self.link = link
        self.attempt = None
        self.dial_at = None
        self.last_error = None
        self.refusing = False
        self.pause = _REFUSING_PAUSE
        self.returned = self.lost_at is not None
        self.fit_since = now
        self.strangers = 0
        self.ready_asked_at = -math.inf
        self.announced = False
        self._healthy()

    def replaced(self, link: LinkView, now: float) -> None:
        """The name of the cluster has moved, and ``link`` with it, to other members."""
        self.data_id = _data_ids()
        link.data_id = self.data_id
        self.members = link.members()
        self.known = link.known_cluster()
        self.link = link
        self.fit_since = now
        self.strangers = 0
        self._healthy()

    def used(self, link: LinkView) -> None:
        """Operations go to the cluster: members know the client by this link, also when it is opened again."""
        self.identity = link.known_cluster().identity
        self.left_identity = None

    def left(self) -> None:
        """Operations go elsewhere: what the client holds here is to be given back."""
        self.left_identity = self.identity or self.left_identity
        self.identity = None

    def is_left(self, link: LinkView) -> bool:
        """Whether a link goes by an identity whose locks are to be given back."""
        return self.left_identity is not None and link.known_cluster().identity == self.left_identity

    def to_be_found(self) -> KnownCluster | None:
        """What an attempt may know of the cluster."""
        return None if self.known is None else replace(self.known, identity=self.identity)

    def passed_over(self, why: str) -> None:
        """Another cluster is taken instead; an attempt that is under way may say more once it has ended."""
        self.last_error = self.last_error or why

    def failed(self, why: str) -> None:
        """An attempt ended without a link."""
        self.attempt = None
        self.tries += 1
        self.last_error = why

    def lost(self, why: str, since: float) -> None:
        """The link is gone; the first sign of that came at ``since``, monotonic seconds."""
        if self.returned:
            self.relapses += 1
        if self.link is not None:
            self._remember(self.link)
        if self.began is not None:
            self.tries += 1  # the attempt that opened it is used up
        if self.lost_at is None:
            self.lost_at = since
        self.last_error = why
        self.closed()

    def closed(self) -> None:
        """There is no link any more."""
        self.link = None
        self.is_slow = False
        self.fit_since = None
        self.latency = None
        self._healthy()

    def begin_search(self, now: float) -> None:
        """Count attempts from none again; one that is under way is the first."""
        self.tries = 0
        self.began = now if self.attempt is not None else None
        if self.link is None and self.attempt is None:
            self.dial_at = None

    def background_pause(self, jitter: float) -> float:
        """Seconds to the next attempt while nobody waits for it.

        :param jitter: by chance, 0 to 1
        """
        if not self.refusing:
            self.pause = _REFUSING_PAUSE
            return _ABSENT_PAUSE * (0.5 + jitter / 2)
        pause = self.pause
        self.pause = min(_LONGEST_PAUSE, pause * 2)
        return pause * (0.5 + jitter / 2)

    def checked(self, failures: Mapping[UUID, Failures], latency: float | None, now: float) -> None:
        """Members have answered health checks, or failed to; ``latency`` in seconds."""
        if self.link is not None:
            self._remember(self.link)
        self.failures = {member: failed for member, failed in failures.items() if member in self.members}
        self.latency = latency if latency is not None else self.latency
        if failures:
            self.fit_since = now

    def failing(self, limit: int) -> list[Failures]:
        """The failures of the members that have failed ``limit`` checks in a row, or more."""
        return [failures for failures in self.failures.values() if failures.exceed(limit)]

    def is_half_gone(self, limit: int) -> bool:
        """Whether half of the members or more have failed ``limit`` checks in a row."""
        gone = len(self.failing(limit))
        return gone > 0 and 2 * gone >= len(self.members)

    def since(self) -> float | None:
        """When the first check of those that failed in a row was sent, monotonic seconds."""
        return min(
            (failed.since for failed in self.failures.values() if failed.since is not None), default=None
        )

    def condition(self, active: LinkView | None) -> Condition:
        """What to show of it."""
        if self.link is not None:
            return Condition.ACTIVE if self.link is active else Condition.STANDBY
        if self.attempt is not None and self.last_error is None:
            return Condition.CONNECTING
        return Condition.DOWN if self.last_error is not None else Condition.IDLE

    def status(self, active: LinkView | None) -> ClusterStatus:
        """The cluster as ``status()`` shows it."""
        return ClusterStatus(
            label=self.label,
            cluster_name=self.config.cluster_name,
            index=self.index,
            priority=self.config.priority,
            addresses=self.addresses,
            members=len(self.members) if self.link is not None else 0,
            state=self.condition(active),
            impaired=self.impaired,
            restarted=self.restarted,
            latency_ms=None if self.latency is None else round(self.latency * 1000, 3),
            last_error="; ".join(filter(None, (self.last_error, self.dns_error))) or None,
        )

    def _remember(self, link: LinkView) -> None:
        """Keep who the members are and where; a link that is going down may know none any more."""
        known = link.known_cluster()
        if known.addresses:
            self.members, self.known = link.members(), known

    def _healthy(self) -> None:
        self.failures = {}
        self.impaired = False


def failed_too_often(record: ClusterRecord, records: Sequence[ClusterRecord], limit: int) -> str | None:
    """Why a cluster counts as lost by its failed checks, if it does.

    When others fail as well, this process or its network is the first suspect: twice as many
    failures are needed to believe it.
    """
    others = any(other.is_half_gone(1) for other in records if other is not record)
    needed = 2 * limit if others else limit
    if not record.is_half_gone(needed):
        answer_pings_only = any(failures.pings_only for failures in record.failures.values())
        record.impaired = answer_pings_only or bool(record.failing(limit))
        return None
    failing = record.failing(needed)
    who = f"{len(failing)} of {len(record.members)} members"
    if all(failures.silent >= needed for failures in failing):
        return f"{who} failed {needed} health checks"
    errors = sorted({failures.error for failures in failing if failures.error})
    why = f" ({', '.join(errors)})" if errors else ""
    return f"{who} answered pings and failed {_PINGS_ONLY * needed} health checks{why}"
