"""The health monitor: checks every member of every connected cluster, and ends operations that are overdue.

A member's failures are the failed checks since the last one that it answered. They are counted at the interval at
which checks are sent, also when a busy connection has held several of them up.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from hazelcast.core import MemberInfo

from ..._threads import Latch, ServiceThread, resting
from .._connect.link import Link
from .._controller.health import Failures
from .._controller.messages import Checked, LinkDown
from ..options import Options
from .member_check import CheckState, MemberCheck

# Between two looks of the monitor, while there are links and while there are none, seconds.
_TICK, _IDLE_TICK = 0.05, 0.25
# Between two rounds when health checks are turned off, seconds: the member list is still looked at.
_UNCHECKED_INTERVAL = 1.0
# Between two looks for what was interrupted, seconds.
_TEND_INTERVAL = 0.5
# A look that is late by more than this means that this process did not run, seconds.
_LATE = 0.1
# The shortest time-out while partitions are not assigned yet, which members do at their first use, seconds.
_FIRST_USE_TIMEOUT = 1.0
# How many checks of one member may be open on a busy connection.
_MOST_OPEN = 10
# Failures kept for each member, as a multiple of health_check_failures: 6 (pings only) x 2 (others fail too).
_FAILURES_KEPT = 12
# The longest wait for a cluster to respond, however busy it is, seconds.
_RESPONSE_TIMEOUT = 30.0

_logger = logging.getLogger("flask_hazelcast_failover.client")


@dataclass
class _MemberChecks:
    """The checks of one member that are open, and those that failed since it last answered; in the order sent."""

    failed: deque[MemberCheck]
    open: deque[MemberCheck] = field(default_factory=deque)
    failed_at: float = float("-inf")  # when a check was last counted as failed, by the monitor's time
    # Rounds in a row without a connection to send a check over; for a lite member, without its own connection.
    missed: int = 0
    missed_since: float | None = None  # when the first of them began, monotonic seconds

    def update(self, now: float, interval: float) -> list[MemberCheck]:
        """Take in which checks have ended. Gives those that were answered.

        :param now: by the monitor's time
        :param interval: seconds from one failure to the next
        """
        answered = [check for check in (*self.failed, *self.open) if check.update() is CheckState.ANSWERED]
        if answered:
            last = max(check.sent_at for check in answered)
            self.failed = deque((c for c in self.failed if c.sent_at > last), self.failed.maxlen)
            self.open = deque(check for check in self.open if check.state is not CheckState.ANSWERED)
        for check in list(self.open):
            if check.state is not CheckState.OPEN and now - self.failed_at >= interval:
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
    """A thread that checks the members of every link.

    :param options: the client's options
    :param links: gives the links to check, and to end overdue operations on
    :param post: gives the controller the results of checks, or that a link can be read no more
    :param tend: goes on with what was interrupted; called now and then
    """

    def __init__(
        self,
        options: Options,
        links: Callable[[], Sequence[Link]],
        post: Callable[[Checked | LinkDown], None],
        tend: Callable[[], None],
    ) -> None:
        self._options = options
        self._links = links
        self._post = post
        self._tend = tend
        self._is_stopped = False  # set once
        self._wake = Latch()
        self._time = 0.0  # seconds in which this process ran; of the monitor's thread only, like the next one
        self._monitored: dict[Link, _MonitoredLink] = {}
        self._thread = ServiceThread(self._run, "hazelcast-failover-health")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end soon."""
        self._is_stopped = True
        self._wake.set()

    def abandon(self) -> None:
        """In a forked child: end the copied greenlet, and touch no lock of the parent's."""
        self._is_stopped = True

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        self._thread.join(timeout)

    def _run(self) -> None:
        looked = time.monotonic()
        next_round, next_tend = 0.0, 0.0
        while not self._is_stopped:
            self._wake.wait(tick := _TICK if self._links() else _IDLE_TICK)
            now = time.monotonic()
            late = now - looked - tick
            looked = now
            try:
                # While this process did not run no answer could be read, so that time does not count.
                self._time += tick if late > _LATE else tick + late
                links = list(self._links())
                self._end_overdue(links)
                if self._time >= next_tend:
                    next_tend = self._time + _TEND_INTERVAL
                    self._tend()
                is_round = self._time >= next_round
                if is_round:
                    interval = self._options.health_check_interval or _UNCHECKED_INTERVAL
                    next_round = max(next_round + interval, self._time)
                self._check(links, is_round)
            except Exception:  # whatever it is, the clusters have to be checked on
                _logger.exception("unexpected failure of the health monitor")

    def _end_overdue(self, links: Sequence[Link]) -> None:
        for link in links:
            link.end_overdue(self._time, self._options.operation_timeout)

    def _check(self, links: Sequence[Link], is_round: bool) -> None:
        self._monitored = {
            link: self._monitored.get(link) or _MonitoredLink(link, self._options) for link in links
        }
        for link, monitored in self._monitored.items():
            try:
                self._check_link(link, monitored, is_round)
            except Exception:  # the others have to be checked all the same
                _logger.exception("unexpected failure of a health check of %s", link.label)

    def _check_link(self, link: Link, monitored: _MonitoredLink, is_round: bool) -> None:
        if not link.client.is_reactor_alive():
            self._post(LinkDown(link))
            return
        has_changed = monitored.update(self._time)
        if is_round:
            monitored.send_checks()
        if has_changed or is_round:
            self._post(monitored.report())


class _MonitoredLink:
    """The checks of one link's members. Of the monitor's thread."""

    def __init__(self, link: Link, options: Options) -> None:
        self._link = link
        self._options = options
        self._partitions = _MemberPartitions(link)
        self._members: dict[UUID, _MemberChecks] = {}
        self._connected_lite: set[UUID] = set()  # lite members that a connection was open to once
        self._latency: float | None = None
        # The interval of checks, less what one look may come late.
        self._interval = max(0.0, options.health_check_interval - 1.5 * _TICK)

    def update(self, now: float) -> bool:
        """Take in what has come since the last time; whether any check has ended.

        :param now: by the monitor's time
        """
        has_changed = False
        for member in self._members.values():
            failed = len(member.failed)
            for check in member.update(now, self._interval):
                has_changed = True
                latency = (check.answered_at or time.monotonic()) - check.sent_at
                self._latency = max(self._latency or 0.0, latency)
            has_changed = has_changed or len(member.failed) != failed
        return has_changed

    def send_checks(self) -> None:
        """Begin a round: check each member that can be checked."""
        members = {m.uuid: m for m in self._link.client.member_list() if m.uuid is not None}
        self._members = {uuid: self._members.get(uuid) or self._new_checks() for uuid in members}
        if not self._options.health_check_interval:
            return
        timeout = self._options.health_check_timeout
        if not self._partitions.are_assigned():
            timeout = max(timeout, _FIRST_USE_TIMEOUT)
        connected = self._link.client.connected_members()
        for uuid, member in members.items():
            checks = self._members[uuid]
            misses_lite = member.lite_member and self._misses_lite(uuid, connected)
            if misses_lite or not connected:
                checks.missed += 1
                checks.missed_since = checks.missed_since or time.monotonic()
            else:
                checks.missed, checks.missed_since = 0, None
            is_busy = len(checks.open) >= _MOST_OPEN and checks.open[0].is_overdue()
            if not (member.lite_member or is_busy):
                check = _sent(self._link, self._partitions, uuid, timeout)
                if check is not None:
                    checks.open.append(check)

    def report(self) -> Checked:
        """The results. A member that does not answer is not relied on to report the cluster's members."""
        latency, self._latency = self._latency, None
        failures = {uuid: found for uuid, checks in self._members.items() if (found := checks.failures())}
        silent = [uuid for uuid, f in failures.items() if f.exceed(self._options.health_check_failures)]
        if silent:
            self._link.client.use_other_member_for_view(silent)
        return Checked(self._link, failures, latency)

    def _new_checks(self) -> _MemberChecks:
        return _MemberChecks(deque(maxlen=_FAILURES_KEPT * self._options.health_check_failures + 1))

    def _misses_lite(self, lite: UUID, connected: frozenset[UUID]) -> bool:
        """Whether the connection that there was to a lite member is gone.

        A client that is connected to one member only, without smart routing, misses none.
        """
        if lite in connected:
            self._connected_lite.add(lite)
        return self._link.client.is_smart and lite in self._connected_lite and lite not in connected


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
    answered: queue.SimpleQueue[None] = queue.SimpleQueue()
    for check in checks:
        check.call_when_answered(partial(answered.put, None))
    end = time.monotonic() + _RESPONSE_TIMEOUT
    while time.monotonic() < end:
        states = [check.update() for check in checks]
        alive = states.count(CheckState.ANSWERED)
        if 2 * alive > len(states) or not states:
            return True
        if 2 * (alive + states.count(CheckState.OPEN)) <= len(states) or not link.is_connected():
            return False
        with suppress(queue.Empty), resting():
            answered.get(timeout=_TICK)
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
    """A partition of each member, which a check is sent for."""

    def __init__(self, link: Link) -> None:
        self._service = link.client.partition_service
        self._known: dict[UUID, int] = {}

    def are_assigned(self) -> bool:
        """Whether partitions have owners: members assign them at the first use of the cluster."""
        owner = self._service.get_partition_owner
        return any(owner(partition) for partition in range(self._service.get_partition_count()))

    def of(self, member: UUID) -> int | None:
        """A partition that the member owns, ``None`` if it owns none."""
        owner = self._service.get_partition_owner
        known = self._known.get(member)
        if known is not None and owner(known) == member:
            return known
        if not self.are_assigned():
            return 0  # the request makes the members assign them
        for partition in range(self._service.get_partition_count()):
            if owner(partition) == member:
                self._known[member] = partition
                return partition
        return None
