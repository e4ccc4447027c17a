"""The watch: checks every member of every connected cluster, and ends what is overdue.

A check is a read of a map that nobody created, on a partition that the member owns, so it goes the
way of an operation and leaves no trace. A lite member owns no partition: its connection counts.
Of a paused process's own time nothing counts but what it has run.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hazelcast.errors import AccessControlError
from hazelcast.future import Future

from flask_hazelcast_failover.client.happenings import Checked
from flask_hazelcast_failover.client.link import Link
from flask_hazelcast_failover.client.options import Options

__all__ = ["Watch", "answers"]

_PROBED = "hazelcast-failover-health"
# How often the watch looks, while there is something to look at and while there is nothing, seconds.
_PACE, _IDLE_PACE = 0.05, 0.25
# How often the members are looked at where none is checked, seconds.
_UNCHECKED = 1.0
# A look that comes later than this by more says that our own process was held up, seconds.
_LATE = 0.1
# How long members may take to share the partitions out at their first use at least, seconds.
_FIRST_USE = 1.0
# Keys are drawn until every partition has one; most clusters have 271.
_KEYS = 4096

_logger = logging.getLogger("flask_hazelcast_failover.client")


@dataclass
class _Round:
    """One round of checks over one link."""

    link: Link
    began: float  # by the watch's own time
    patience: float  # seconds for the answers
    waiting: dict[UUID, Future[Any]] = field(default_factory=dict)
    failed: set[UUID] = field(default_factory=set)
    latency: float = 0.0  # of the slowest answer; written by threads of the official client


class Watch:
    """A thread that looks at every link again and again.

    :param options: the client's options
    :param links: gives the links to check, and to end overdue operations on
    :param post: tells the keeper how a round ended
    """

    def __init__(
        self,
        options: Options,
        links: Callable[[], Sequence[Link]],
        post: Callable[[Checked], None],
    ) -> None:
        self._options = options
        self._links = links
        self._post = post
        self._stopped = threading.Event()
        self._time = 0.0  # seconds in which this process ran; of the watch's thread only, like the next ones
        self._rounds: list[_Round] = []
        self._known: dict[Link, _Acquaintance] = {}
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
                if late <= _LATE:
                    self._end_overdue()
                self._end_rounds()
                if self._time >= next_round:
                    interval = self._options.health_check_interval or _UNCHECKED
                    next_round = max(next_round + interval, self._time)
                    self._begin_rounds()
            except Exception:  # whatever it is, clusters are to be watched on
                _logger.exception("unexpected failure of a health check")

    def _end_overdue(self) -> None:
        for link in self._links():
            link.end_overdue(self._time, self._options.operation_timeout)

    def _begin_rounds(self) -> None:
        links = list(self._links())
        self._known = {link: self._known.get(link) or _Acquaintance(link) for link in links}
        for link in links:
            patience = self._options.health_check_timeout
            if not self._known[link].are_shared_out():
                patience = max(patience, _FIRST_USE)
            round_ = _Round(link, self._time, patience)
            self._rounds.append(round_)
            if not self._options.health_check_interval:
                continue  # nobody is asked, and the end of the round shows who is a member
            connected = link.client.connected_members()
            for member in link.client.member_list():
                uuid: UUID = member.uuid  # type: ignore[assignment]
                if not member.lite_member:
                    self._check(round_, uuid)
                elif self._known[link].has_lost(uuid, connected):
                    round_.failed.add(uuid)

    def _check(self, round_: _Round, member: UUID) -> None:
        key = self._known[round_.link].asking(member)
        if key is None:
            return  # nothing that it could be asked for
        began = time.monotonic()

        def answered(future: Future[Any]) -> None:
            if _is_alive(future):
                round_.latency = max(round_.latency, time.monotonic() - began)

        try:
            future = round_.link.client.unlisted_map(_PROBED).get(key)
        except Exception:
            round_.failed.add(member)
            return
        future.add_done_callback(answered)
        round_.waiting[member] = future

    def _end_rounds(self) -> None:
        ended = []
        for round_ in self._rounds:
            for member, future in list(round_.waiting.items()):
                if future.done():
                    del round_.waiting[member]
                    if not _is_alive(future):
                        round_.failed.add(member)
            if round_.waiting and self._time - round_.began >= round_.patience:
                round_.failed.update(round_.waiting)
                round_.waiting.clear()
            if not round_.waiting:
                ended.append(round_)
        for round_ in ended:
            self._rounds.remove(round_)
            self._post(Checked(round_.link, frozenset(round_.failed), round_.latency or None))


def answers(link: Link, patience: float) -> bool:
    """Whether more than half of the members answer a check.

    :param patience: seconds that they have for it
    """
    deadline = time.monotonic() + patience
    keys = _Acquaintance(link)
    members = [member.uuid for member in link.client.member_list() if member.uuid and not member.lite_member]
    asked = [key for key in map(keys.asking, members) if key is not None]
    alive: queue.SimpleQueue[bool] = queue.SimpleQueue()
    for key in asked:
        try:
            check = link.client.unlisted_map(_PROBED).get(key)
        except Exception:
            alive.put(False)
        else:
            check.add_done_callback(lambda check: alive.put(_is_alive(check)))
    dead = 0
    for answered in range(len(asked)):
        if 2 * (answered - dead) > len(asked):
            return True
        try:
            dead += not alive.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return False
    return 2 * dead < len(asked) or not asked


class _Acquaintance:
    """What the watch knows of a cluster: a key for each partition, drawn as needed, and lite members met."""

    def __init__(self, link: Link) -> None:
        self._partitions = link.client.partition_service
        self._is_smart = link.client.is_smart
        self._met: set[UUID] = set()
        self._keys: dict[int, int] = {}  # partition -> key
        self._drawn = 0

    def are_shared_out(self) -> bool:
        """Whether partitions have owners: the members see to that at their first use only."""
        owner = self._partitions.get_partition_owner
        return any(owner(partition) for partition in range(self._partitions.get_partition_count()))

    def has_lost(self, lite: UUID, connected: frozenset[UUID]) -> bool:
        """Whether the connection that there was to a lite member is gone.

        A client that is connected to one member only, without smart routing, misses none.
        """
        if lite in connected:
            self._met.add(lite)
        return self._is_smart and lite in self._met and lite not in connected

    def asking(self, member: UUID) -> int | None:
        """A key in a partition that the member owns, ``None`` if it owns none."""
        if not self.are_shared_out():
            return 0  # the read has them shared out
        owner = self._partitions.get_partition_owner
        for partition, key in self._keys.items():
            if owner(partition) == member:
                return key
        while self._drawn < _KEYS:
            key, self._drawn = self._drawn, self._drawn + 1
            partition = self._partitions.get_partition_id(key)
            self._keys.setdefault(partition, key)
            if owner(partition) == member:
                return key
        return None


def _is_alive(check: Future[Any]) -> bool:
    """Whether somebody answered, be it that we may not read."""
    return check.is_success() or isinstance(check.exception(), AccessControlError)
