"""What the controller knows of one cluster: a record of parts, which the record itself updates when the cluster changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from ..._backoff import backoff
from ..._foreign_text import listed, printable
from ...failover import ClusterConfig
from ..status import ClusterStatus, Condition
from .connection import ClusterConnection
from .effects import LinkView
from .health import ClusterHealth, Failures

# Between two attempts that nobody waits for, seconds: at a cluster that is merely absent, and at one that refuses.
_ABSENT_PAUSE = 0.5
_REFUSING_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
# A cluster that was healthy for so long has its relapses forgotten, seconds.
_RELAPSES_FORGOTTEN = 3600.0

READY_CHECK_ASKED = math.inf
"""Stands for the time of the ready check's answer while it is due."""


class ClusterRecord:
    """One cluster. Of the controller's thread; what happens to the cluster reaches all parts through the methods here.

    :param config: the cluster's configuration
    :param index: its place in the order of priority
    """

    def __init__(self, config: ClusterConfig, index: int) -> None:
        self.config = config
        self.index = index
        self.last_error: str | None = None
        self.attempts = Attempts()
        self.connection = ClusterConnection()
        self.health = ClusterHealth()
        self.dns = DnsState(config.addresses)
        self.failback = FailbackState()
        self.outage = Outage()

    @property
    def label(self) -> str:
        """The cluster's label."""
        return self.config.label

    @property
    def link(self) -> LinkView | None:
        """The open link to it."""
        return self.connection.link

    @property
    def is_unattended(self) -> bool:
        """Whether there is no link, and no attempt now or later."""
        return self.link is None and self.attempts.is_idle

    def begin_search(self, now: float) -> None:
        """Count attempts from none again."""
        self.attempts.begin_search(now, is_connected=self.link is not None)

    def attempt_failed(self, why: str, *, refusing: bool) -> None:
        """The attempt under way has ended without a link."""
        self.attempts.fail(refusing=refusing)
        self.last_error = printable(why)

    def connected(self, link: LinkView, now: float) -> None:
        """An attempt has opened a link."""
        self.connection.open(link)
        self.attempts.end()
        self.last_error = None
        self.outage.announced = False
        self.failback.connect(now, was_lost=self.outage.since is not None)
        self.dns.foreign_answers = 0
        self.health.reset()

    def checked(self, failures: Mapping[UUID, Failures], latency: float | None, now: float) -> None:
        """Members have answered health checks, or failed to; ``latency`` in seconds."""
        self.connection.refresh()
        self.health.report(self.connection.members, failures, latency)
        if failures:
            self.failback.restart(now)

    def replaced(self, link: LinkView, now: float) -> None:
        """The cluster's name leads to other members, and ``link`` to these."""
        self.connection.replace(link)
        self.failback.restart(now)
        self.dns.foreign_answers = 0
        self.health.reset()

    def lost(self, why: str, since: float, now: float) -> None:
        """The link is lost; the first sign of that was at ``since``, monotonic seconds."""
        self.failback.lose(now)
        self.connection.refresh()
        self.attempts.use_up()
        if self.outage.since is None:
            self.outage.since = since
        self.last_error = printable(why)
        self.closed()

    def closed(self) -> None:
        """There is no link any more."""
        self.connection.close()
        self.failback.close()
        self.health.reset()

    def passed_over(self, why: str) -> None:
        """Another cluster is used instead; an attempt that is under way may say more once it has ended."""
        self.last_error = self.last_error or why

    def condition(self, active: LinkView | None) -> Condition:
        """What to show of the connection."""
        if self.link is not None:
            return Condition.ACTIVE if self.link is active else Condition.STANDBY
        if self.last_error is not None:
            return Condition.DOWN
        return Condition.CONNECTING if self.attempts.number is not None else Condition.IDLE

    def status(self, active: LinkView | None) -> ClusterStatus:
        """The cluster as ``status()`` shows it."""
        latency = self.health.latency
        return ClusterStatus(
            label=self.label,
            cluster_name=self.config.cluster_name,
            index=self.index,
            priority=self.config.priority,
            addresses=self.dns.addresses,
            members=len(self.connection.members) if self.link is not None else 0,
            state=self.condition(active),
            impaired=self.health.impaired,
            restarted=self.connection.restarted,
            latency_ms=None if latency is None else round(latency * 1000, 3),
            last_error=listed([error for error in (self.last_error, self.dns.error) if error], "; ") or None,
        )


@dataclass
class Attempts:
    """The attempts at one cluster: the one under way, the next one, and how many have failed."""

    number: int | None = None  # of the attempt under way
    began: float | None = None  # when the first attempt of this search began, monotonic seconds
    due_at: float | None = None  # when the next attempt begins, monotonic seconds
    failed: int = 0  # in this search
    refusing: bool = False  # whether the last one was refused; else nobody answered
    _refusals: int = 0  # in a row, of those that nobody waited for

    @property
    def is_idle(self) -> bool:
        """Whether there is no attempt, now or later."""
        return self.number is None and self.due_at is None

    def begin_search(self, now: float, *, is_connected: bool) -> None:
        """Count from none again; an attempt that is under way is the first."""
        self.failed = 0
        self.began = now if self.number is not None else None
        if not is_connected and self.number is None:
            self.due_at = None

    def end(self) -> None:
        """The attempt under way has opened a link."""
        self.number = self.due_at = None
        self.refusing = False
        self._refusals = 0

    def fail(self, *, refusing: bool) -> None:
        """The attempt under way has ended without a link."""
        self.number = None
        self.failed += 1
        self.refusing = refusing

    def use_up(self) -> None:
        """The link that an attempt of this search has opened is gone: the attempt is used up."""
        if self.began is not None:
            self.failed += 1

    def next_pause(self) -> float:
        """Seconds to the next attempt while nobody waits for it, before jitter."""
        self._refusals = self._refusals + 1 if self.refusing else 0
        return backoff(_REFUSING_PAUSE, self._refusals, _LONGEST_PAUSE) if self.refusing else _ABSENT_PAUSE


@dataclass
class FailbackState:
    """For how long a cluster has been fit to return to."""

    healthy_since: float | None = None  # connected and healthy without a break, monotonic seconds
    relapses: int = 0  # how often it was lost after it had come back
    ready_asked_at: float = -math.inf  # when the ready check answered last; READY_CHECK_ASKED until then
    _has_returned: bool = False

    def connect(self, now: float, *, was_lost: bool) -> None:
        """A link was opened."""
        self._has_returned = was_lost
        self.healthy_since = now
        self.ready_asked_at = -math.inf

    def restart(self, now: float) -> None:
        """A health check has failed, or the members are others: the time begins anew."""
        self.healthy_since = now

    def lose(self, now: float) -> None:
        """The link is lost."""
        if self.healthy_since is not None and now - self.healthy_since >= _RELAPSES_FORGOTTEN:
            self.relapses, self._has_returned = 0, False
        if self._has_returned:
            self.relapses += 1

    def close(self) -> None:
        """There is no link any more."""
        self.healthy_since = None


@dataclass
class DnsState:
    """What DNS last said of a cluster; for one with fixed addresses only these."""

    addresses: tuple[str, ...]
    error: str | None = None
    due_at: float | None = None  # when the name is looked up next, monotonic seconds
    foreign_answers: int = 0  # in a row that lead to members of another cluster
    own_answers: int = 0  # that led to this cluster's members


@dataclass
class Outage:
    """What was announced of a cluster."""

    announced: bool = False  # that it is connected
    since: float | None = None  # when it was lost, until its recovery is announced; monotonic seconds
