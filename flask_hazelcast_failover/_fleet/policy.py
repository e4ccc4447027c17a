"""What a process does with what it sees of its fleet. No clock and no network of its own.

The one who asks gives the time (monotonic seconds of this process; no clock of another host is
looked at: a process lives as long as its record changes). Three things move a process:

- an order that somebody gave, once: what happens to the process afterwards is its own affair;
- the strict majority: has it been on another cluster for 5 s, the process goes there if it can;
- nothing else. A tie or a doubt moves nobody.

Where the majority is for 5 s becomes what is wanted. So a cluster that all have lost and that is back
pulls nobody back, and who starts late finds the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from flask_hazelcast_failover._fleet.records import Desired, Order, WorkerRecord, by_majority

__all__ = ["Destination", "FleetPolicy", "Location"]

# How long the majority has to be on a cluster, seconds.
_PATIENCE = 5.0
# A process whose record has not changed for this long is not there any more, seconds.
_SILENCE = 5.0
# How long a fleet has to be on several clusters until it is told, seconds.
_SPLIT_PATIENCE = 2.0
# How long a cluster has to be reachable until a process joins the majority there, seconds. From the
# second time in an hour on it is the second figure, which doubles up to the third.
_STEADY, _UNSTEADY, _LONGEST = 2.0, 5.0, 600.0
_MEMORY = 3600.0
# Between two attempts at a destination that cannot be reached, seconds; doubles up to the second.
_RETRY, _LONGEST_RETRY = 2.0, 60.0


@dataclass(frozen=True)
class Location:
    """Where this process is.

    :param worker: its id
    :param current: label of its cluster
    :param reach: labels of the clusters that it may go to
    """

    worker: str
    current: str | None
    reach: frozenset[str]


@dataclass(frozen=True)
class Destination:
    """Where this process should go now, and why."""

    label: str
    holds: bool
    why: str
    order: Order | None


@dataclass
class _Seen:
    record: WorkerRecord
    changed_at: float


@dataclass
class _Attempts:
    """Attempts at a destination that failed."""

    label: str = ""
    again_at: float = 0.0
    pause: float = _RETRY


@dataclass
class FleetPolicy:
    """All of it belongs to one thread."""

    desired: Desired | None = None
    moved_at: float = -math.inf  # when somebody moved, or was told to
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _majority: tuple[str, float] | None = None  # where it is, since when
    _pending: Order | None = None  # what this process was told and has not done yet
    _done: Order | None = None  # what it was told and did last
    _reach_since: dict[str, float] = field(default_factory=dict)
    _joined: dict[str, list[float]] = field(default_factory=dict)  # when it went to the majority
    _failed: _Attempts = field(default_factory=_Attempts)
    _split_since: float | None = None
    _split_told: bool = False

    # What is seen.

    def see(self, records: Iterable[WorkerRecord], place: Location, now: float) -> None:
        """Take in the records of all clusters that could be read, this process's own among them."""
        newest: dict[str, WorkerRecord] = {}
        for record in records:
            known = newest.get(record.id)
            if known is None or record.beat >= known.beat:
                newest[record.id] = record
        for worker in self._seen.keys() - newest.keys():
            del self._seen[worker]
        for worker, record in newest.items():
            seen = self._seen.get(worker)
            if seen is None:
                self._seen[worker] = _Seen(record, now)
            elif record.beat > seen.record.beat:
                if record.current_cluster != seen.record.current_cluster:
                    self.moved_at = now
                seen.record, seen.changed_at = record, now
        self._count(now)
        self._reach(place.reach, now)

    def in_doubt(self) -> None:
        """Nothing could be read for a while: what was seen says nothing about now."""
        self._majority = None
        self._split_since = None

    def hear(self, desired: Desired, worker: str, now: float) -> bool:
        """Take in what is wanted; whether it is news.

        :param worker: id of this process
        """
        if not desired.is_newer_than(self.desired):
            return False
        self.desired = desired
        order = desired.order_for(worker)
        is_new = self._done is None or (order != self._done and order.generation >= self._done.generation)
        self._pending = order if order.is_asked_for and is_new else None
        self._failed = _Attempts()
        self.moved_at = now
        if order.is_asked_for and self._majority is not None:
            # Everybody gets the time to go there before it is counted who has.
            self._majority = self._majority[0], now
        return True

    def live(self, now: float) -> list[WorkerRecord]:
        """The processes that serve, by id."""
        alive = [seen.record for seen in self._seen.values() if now - seen.changed_at < _SILENCE]
        return sorted(alive, key=lambda record: record.id)

    def is_split(self, now: float) -> bool:
        """Whether the fleet is on more than one cluster."""
        return len(self._counted(now)) > 1

    @property
    def majority(self) -> str | None:
        """The cluster that the strict majority is on."""
        return None if self._majority is None else self._majority[0]

    @property
    def is_told(self) -> bool:
        """Whether this process was told to go somewhere, and has not done that yet."""
        return self._told() is not None

    def are_all_there(self, label: str, now: float) -> bool:
        """Whether every process is on one cluster, and most of them have been for long enough."""
        return self._settled(now) == label and all(
            record.current_cluster == label for record in self.live(now)
        )

    # What follows.

    def lasting_split(self, now: float) -> Mapping[str, int] | None:
        """How many processes are on which cluster, once for each split that lasts."""
        if not self.is_split(now):
            self._split_since, self._split_told = None, False
            return None
        if self._split_since is None:
            self._split_since = now
        if self._split_told or now - self._split_since < _SPLIT_PATIENCE:
            return None
        self._split_told = True
        return dict(sorted(self._counted(now).items()))

    def wanted_by_majority(self, now: float) -> Desired | None:
        """What the fleet should want, because most of it has been there for long enough."""
        label = self._settled(now)
        if label is None or (self.desired is not None and self.desired.fleet.label == label):
            return None
        return by_majority(self.desired, label)

    def destination(self, place: Location, now: float) -> Destination | None:
        """Where this process should go now, if anywhere."""
        target = self._told() or self._where_most_are(place, now)
        if target is None:
            return None
        if target.label == self._failed.label and now < self._failed.again_at:
            return None
        return target

    def arrived(self, destination: Destination, now: float) -> None:
        """This process went where it should."""
        self._failed = _Attempts()
        if destination.order is None:
            self._joined.setdefault(destination.label, []).append(now)
        else:
            self.obeyed(destination.order)

    def obeyed(self, order: Order) -> None:
        """This process has done what it was told."""
        self._done = order
        if self._pending == order:
            self._pending = None

    def failed(self, destination: Destination, now: float) -> None:
        """This process could not go where it should."""
        pause = self._failed.pause if self._failed.label == destination.label else _RETRY
        self._failed = _Attempts(destination.label, now + pause, min(_LONGEST_RETRY, pause * 2))

    def _told(self) -> Destination | None:
        order = self._pending
        if order is None or order.label is None:
            return None
        why = f"as wished by {order.by} (generation {order.generation})"
        return Destination(order.label, order.holds, why, order)

    def _where_most_are(self, place: Location, now: float) -> Destination | None:
        label = self._settled(now)
        if label is None or label == place.current or place.current is None:
            return None
        apart = self.desired.apart.get(place.worker) if self.desired is not None else None
        if apart is not None and apart.label == place.current:
            return None  # it was sent here on its own
        if now - self._reach_since.get(label, now) < self._steadiness(label, now):
            return None
        live = self.live(now)
        there = sum(1 for record in live if record.current_cluster == label)
        holds = self.desired is not None and self.desired.fleet.holds
        return Destination(label, holds, f"where {there} of {len(live)} processes are", None)

    def _settled(self, now: float) -> str | None:
        if self._majority is None or now - self._majority[1] < _PATIENCE:
            return None
        return self._majority[0]

    def _count(self, now: float) -> None:
        live = self.live(now)
        counted = self._counted(now)
        label = next((label for label, count in counted.items() if 2 * count > len(live)), None)
        if label is None:
            self._majority = None
        elif self._majority is None or self._majority[0] != label:
            self._majority = label, now

    def _counted(self, now: float) -> Counter[str]:
        places = (record.current_cluster for record in self.live(now))
        return Counter(label for label in places if label is not None)

    def _reach(self, reach: Collection[str], now: float) -> None:
        kept = {label: since for label, since in self._reach_since.items() if label in reach}
        self._reach_since = {label: kept.get(label, now) for label in reach}
        if self._failed.label in reach and self._failed.label not in kept:
            self._failed = _Attempts()

    def _steadiness(self, label: str, now: float) -> float:
        """How long a cluster has to be reachable: the longer, the more often it was left again."""
        times = [at for at in self._joined.get(label, ()) if now - at < _MEMORY]
        self._joined[label] = times
        if not times:
            return _STEADY
        return float(min(_LONGEST, _UNSTEADY * 2 ** (len(times) - 1)))
