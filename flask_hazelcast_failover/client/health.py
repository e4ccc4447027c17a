"""The watch: checks every member of every connected cluster, and ends what is overdue.

A check is a read of a map that nobody created, on a partition that the member owns, so it goes the
way of an operation and leaves no trace. A lite member owns no partition: its connection counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from hazelcast.future import Future

from flask_hazelcast_failover.client.happenings import Checked
from flask_hazelcast_failover.client.link import Link
from flask_hazelcast_failover.client.options import Options

__all__ = ["Watch"]

_PROBED = "hazelcast-failover-health"
# How often the watch looks, seconds. A look that comes later than this proves nothing of a cluster.
_PACE = 0.05
_LATE = 0.5
# Keys are drawn until every partition owner has one; most clusters have 271 partitions.
_KEYS = 4096


@dataclass
class _Round:
    """One round of checks over one link."""

    link: Link
    began: float
    waiting: dict[UUID, Future[object]] = field(default_factory=dict)
    failed: set[UUID] = field(default_factory=set)
    latency: float = 0.0  # of the slowest answer; written by threads of the official client


class Watch:
    """A thread that looks at every link again and again.

    :param options: the client's options
    :param links: gives the links to check
    :param watched: gives the links on which operations may be in flight
    :param post: tells the keeper how a round ended
    """

    def __init__(
        self,
        options: Options,
        links: Callable[[], Iterable[Link]],
        watched: Callable[[], Iterable[Link]],
        post: Callable[[Checked], None],
    ) -> None:
        self._options = options
        self._links = links
        self._watched = watched
        self._post = post
        self._stopped = threading.Event()
        self._rounds: list[_Round] = []  # of the watch's thread only
        self._keys: dict[Link, dict[UUID, int]] = {}  # likewise
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        self._thread.join(timeout)

    def _run(self) -> None:
        looked = time.monotonic()
        next_round = looked
        while not self._stopped.wait(_PACE):
            now = time.monotonic()
            if now - looked > _PACE + _LATE:
                self._rounds.clear()  # we were held up ourselves: what was due meanwhile says nothing
                next_round = now
            looked = now
            for link in self._watched():
                link.end_overdue()
            self._end_rounds(now)
            if self._options.health_check_interval and now >= next_round:
                next_round = max(next_round + self._options.health_check_interval, now)
                self._begin_rounds(now)

    def _begin_rounds(self, now: float) -> None:
        links = list(self._links())
        self._keys = {link: keys for link, keys in self._keys.items() if link in links}
        for link in links:
            round_ = _Round(link, now)
            self._rounds.append(round_)
            connected = link.client.connected_members()
            for member in link.client.member_list():
                if member.lite_member:
                    if member.uuid not in connected:
                        round_.failed.add(member.uuid)
                else:
                    self._check(round_, member.uuid)

    def _check(self, round_: _Round, member: UUID) -> None:
        key = self._key_of(round_.link, member)
        if key is None:
            return  # it owns no partition yet
        began = time.monotonic()

        def answered(future: Future[object]) -> None:
            round_.latency = max(round_.latency, time.monotonic() - began)

        try:
            future = round_.link.client.unlisted_map(_PROBED).get(key)
        except Exception:
            round_.failed.add(member)
            return
        future.add_done_callback(answered)
        round_.waiting[member] = future

    def _key_of(self, link: Link, member: UUID) -> int | None:
        """A key in a partition that the member owns."""
        partitions = link.client.partition_service
        known = self._keys.setdefault(link, {})
        key = known.get(member)
        if key is not None and partitions.get_partition_owner(partitions.get_partition_id(key)) == member:
            return key
        for key in range(_KEYS):
            if partitions.get_partition_owner(partitions.get_partition_id(key)) == member:
                known[member] = key
                return key
        # A cluster assigns its partitions at the first operation, which may be this check.
        is_unassigned = partitions.get_partition_owner(0) is None
        return 0 if is_unassigned else None

    def _end_rounds(self, now: float) -> None:
        ended = []
        for round_ in self._rounds:
            for member, future in list(round_.waiting.items()):
                if future.done():
                    del round_.waiting[member]
                    if not future.is_success():
                        round_.failed.add(member)
            if round_.waiting and now - round_.began >= self._options.health_check_timeout:
                round_.failed.update(round_.waiting)
                round_.waiting.clear()
            if not round_.waiting:
                ended.append(round_)
        for round_ in ended:
            self._rounds.remove(round_)
            self._post(Checked(round_.link, frozenset(round_.failed), round_.latency or None))
