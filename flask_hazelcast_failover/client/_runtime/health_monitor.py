"""The health monitor: checks every member of every connected cluster, and ends operations that are overdue.

A member's failures are the failed checks since the last one that it answered. They are counted at the pace at
which checks are sent, whatever a busy connection had held up before.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from hazelcast.core import MemberInfo

from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client._controller.messages import Checked, Failures, LinkDown
from flask_hazelcast_failover.client._runtime.member_check import CheckState, MemberCheck
from flask_hazelcast_failover.client.options import Options

__all__ = ["HealthMonitor", "is_responsive"]

# How often the monitor looks, while there is something to look at and while there is nothing, seconds.
_PACE, _IDLE_PACE = 0.05, 0.25
# How often the members are looked at where none is checked, seconds.
_UNCHECKED = 1.0
# A look that comes later than this by more says that our own process was held up, seconds.
_LATE = 0.1
# How long members may take to share the partitions out at their first use at least, seconds.
_FIRST_USE = 1.0
# So many checks of one member may be open on a busy connection.
_MOST_OPEN = 10
# Failures kept for each member, as a multiple of health_check_failures: 6 (pings only) x 2 (others fail too).
_REMEMBERED = 12
# How long a cluster is asked whether it responds at most, however busy it is, seconds.
_LONGEST_QUESTION = 30.0

_logger = logging.getLogger("flask_hazelcast_failover.client")


@dataclass
class _Row:
    """The checks of one member that are open, and those that failed since it last answered; in the order sent."""

    failed: deque[MemberCheck]
    open: deque[MemberCheck] = field(default_factory=deque)
    failed_at: float = float("-inf")  # when one was counted as failed last, by the monitor's time
    # Rounds in a row without a connection to check it over; for a lite member, rounds in which its connection was gone.
    missed: int = 0
    missed_since: float | None = None  # when the first of them began, monotonic seconds

    def look(self, now: float, pace: float) -> list[MemberCheck]:
        """Take in which checks have ended. Gives those that were answered.

        :param now: by the monitor's time
        :param pace: seconds from one failure to the next
        """
        answered = [check for check in (*self.failed, *self.open) if check.look() is CheckState.ANSWERED]
        if answered:
            last = max(check.sent_at for check in answered)
            self.failed = deque((c for c in self.failed if c.sent_at > last), self.failed.maxlen)
            self.open = deque(check for check in self.open if check.state is not CheckState.ANSWERED)
        for check in list(self.open):
            if check.state is not CheckState.OPEN and now - self.failed_at >= pace:
                self.open.remove(check)
                self.failed.append(check)
                self.failed_at = now
        return answered

    def failures(self) -> Failures | None:
        """The failures in a row, if there are any."""
        if self.missed:
            return Failures(silent=self.missed, since=self.missed_since)
        if not self.failed:
            return None
        pings_only = sum(check.state is CheckState.PINGS_ONLY for check in self.failed)
        return Failures(
            silent=len(self.failed) - pings_only,
            pings_only=pings_only,
            since=self.failed[0].sent_at,
            error=self.failed[-1].machine_error,
        )


class HealthMonitor:
    """A thread that looks at every link again and again.

    :param options: the client's options
    :param links: gives the links to check, and to end overdue operations on
    :param post: tells the controller how the members of a link are, or that the link can be read no more
    """

    def __init__(
        self,
        options: Options,
        links: Callable[[], Sequence[Link]],
        post: Callable[[Checked | LinkDown], None],
    ) -> None:
        self._options = options
        self._links = links
        self._post = post
        self._stopped = threading.Event()
        self._time = 0.0  # seconds in which this process ran; of the monitor's thread only, like the next one
        self._watched: dict[Link, _WatchedLink] = {}
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def abandon(self) -> None:
        """In a forked child: look no more, and touch no lock of the parent's."""
        self._stopped = threading.Event()
        self._stopped.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        self._thread.join(timeout)

    def _run(self) -> None:
        looked = time.monotonic()
        next_round = 0.0
        while not self._stopped.wait(pace := _PACE if self._links() else _IDLE_PACE):
            now = time.monotonic()
            late = now - looked - pace
            looked = now
            try:
                # While we were held up ourselves no answer could be read, so that time counts for nothing.
                self._time += pace if late > _LATE else pace + late
                links = list(self._links())
                self._end_overdue(links)
                is_round = self._time >= next_round
                if is_round:
                    interval = self._options.health_check_interval or _UNCHECKED
                    next_round = max(next_round + interval, self._time)
                self._look_at(links, is_round)
            except Exception:  # whatever it is, clusters are to be watched on
                _logger.exception("unexpected failure of the health monitor")

    def _end_overdue(self, links: Sequence[Link]) -> None:
        for link in links:
            link.end_overdue(self._time, self._options.operation_timeout)

    def _look_at(self, links: Sequence[Link], is_round: bool) -> None:
        self._watched = {link: self._watched.get(link) or _WatchedLink(link, self._options) for link in links}
        for link, watched in self._watched.items():
            try:
                self._look_at_link(link, watched, is_round)
            except Exception:  # the others are to be watched all the same
                _logger.exception("unexpected failure of a health check of %s", link.label)

    def _look_at_link(self, link: Link, watched: _WatchedLink, is_round: bool) -> None:
        if not link.client.is_reactor_alive():
            self._post(LinkDown(link))
            return
        has_changed = watched.look(self._time)
        if is_round:
            watched.send_checks()
        if has_changed or is_round:
            self._post(watched.report())


class _WatchedLink:
    """The checks of one link's members. Of the monitor's thread."""

    def __init__(self, link: Link, options: Options) -> None:
        self._link = link
        self._options = options
        self._partitions = _MemberPartitions(link)
        self._rows: dict[UUID, _Row] = {}
        self._met_lite: set[UUID] = set()  # lite members that a connection was seen to
        self._latency: float | None = None
        # The pace of checks, less what one look may come late.
        self._pace = max(0.0, options.health_check_interval - 1.5 * _PACE)

    def look(self, now: float) -> bool:
        """Take in what has come since the last look; whether any check has ended.

        :param now: by the monitor's time
        """
        has_changed = False
        for row in self._rows.values():
            failed = len(row.failed)
            for check in row.look(now, self._pace):
                has_changed = True
                latency = (check.answered_at or time.monotonic()) - check.sent_at
                self._latency = max(self._latency or 0.0, latency)
            has_changed = has_changed or len(row.failed) != failed
        return has_changed

    def send_checks(self) -> None:
        """Begin a round: check each member that can be checked."""
        members = {m.uuid: m for m in self._link.client.member_list() if m.uuid is not None}
        self._rows = {uuid: self._rows.get(uuid) or self._new_row() for uuid in members}
        if not self._options.health_check_interval:
            return
        timeout = self._options.health_check_timeout
        if not self._partitions.are_assigned():
            timeout = max(timeout, _FIRST_USE)
        connected = self._link.client.connected_members()
        for uuid, member in members.items():
            row = self._rows[uuid]
            misses_lite = member.lite_member and self._misses_lite(uuid, connected)
            if misses_lite or not connected:
                row.missed += 1
                row.missed_since = row.missed_since or time.monotonic()
            else:
                row.missed, row.missed_since = 0, None
            is_busy = len(row.open) >= _MOST_OPEN and row.open[0].is_overdue()
            if not (member.lite_member or is_busy):
                check = _sent(self._link, self._partitions, uuid, timeout)
                if check is not None:
                    row.open.append(check)

    def report(self) -> Checked:
        """How the members are. Those that do not answer are not relied on to tell of the others."""
        latency, self._latency = self._latency, None
        failures = {uuid: found for uuid, row in self._rows.items() if (found := row.failures())}
        silent = [uuid for uuid, f in failures.items() if f.exceed(self._options.health_check_failures)]
        if silent:
            self._link.client.use_other_member_for_view(than=silent)
        return Checked(self._link, failures, latency)

    def _new_row(self) -> _Row:
        return _Row(deque(maxlen=_REMEMBERED * self._options.health_check_failures + 1))

    def _misses_lite(self, lite: UUID, connected: frozenset[UUID]) -> bool:
        """Whether the connection that there was to a lite member is gone.

        A client that is connected to one member only, without smart routing, misses none.
        """
        if lite in connected:
            self._met_lite.add(lite)
        return self._link.client.is_smart and lite in self._met_lite and lite not in connected


def is_responsive(link: Link, timeout: float) -> bool:
    """Whether more than half of the members that hold data answer a check.

    :param timeout: seconds that each of them may stay silent
    """
    partitions = _MemberPartitions(link)
    checks = [
        check
        for member in link.client.member_list()
        if (check := _sent_to(member, link, partitions, timeout)) is not None
    ]
    answered = threading.Event()
    for check in checks:
        check.call_when_answered(answered.set)
    end = time.monotonic() + _LONGEST_QUESTION
    while time.monotonic() < end:
        answered.clear()
        states = [check.look() for check in checks]
        alive = states.count(CheckState.ANSWERED)
        if 2 * alive > len(states) or not states:
            return True
        if 2 * (alive + states.count(CheckState.OPEN)) <= len(states) or not link.is_connected():
            return False
        answered.wait(_PACE)
    return False


def _sent_to(
    member: MemberInfo, link: Link, partitions: _MemberPartitions, timeout: float
) -> MemberCheck | None:
    return None if member.lite_member or not member.uuid else _sent(link, partitions, member.uuid, timeout)


def _sent(link: Link, partitions: _MemberPartitions, member: UUID, timeout: float) -> MemberCheck | None:
    partition = partitions.of(member)
    request = None if partition is None else link.client.send_check(member, partition)
    return None if request is None else MemberCheck(request, timeout)


class _MemberPartitions:
    """A partition of each member, by which it can be asked."""

    def __init__(self, link: Link) -> None:
        self._service = link.client.partition_service
        self._known: dict[UUID, int] = {}

    def are_assigned(self) -> bool:
        """Whether partitions have owners: the members see to that at their first use only."""
        owner = self._service.get_partition_owner
        return any(owner(partition) for partition in range(self._service.get_partition_count()))

    def of(self, member: UUID) -> int | None:
        """A partition that the member owns, ``None`` if it owns none."""
        owner = self._service.get_partition_owner
        known = self._known.get(member)
        if known is not None and owner(known) == member:
            return known
        if not self.are_assigned():
            return 0  # the request has them assigned
        for partition in range(self._service.get_partition_count()):
            if owner(partition) == member:
                self._known[member] = partition
                return partition
        return None
