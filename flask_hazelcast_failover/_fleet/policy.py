"""What a worker does about what it sees of its fleet. It has no clock and no network of its own.

The caller gives the time, in monotonic seconds of this process. No clock of another host is compared: a worker
is alive as long as its record changes. Two things move a worker:

- an order, once: if the worker is elsewhere later, the order does not bring it back;
- the strict majority: once it has been on another cluster for 5 s, the worker joins it if it can.

A tie or missing data moves nobody. Where the majority has been for 5 s becomes the desired state, so that a
cluster that all have lost attracts nobody when it is back, and late starters find the others.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from .._backoff import backoff
from .records import Desired, HighestGeneration, Order, WorkerRecord, by_majority

# How long the majority must have been on a cluster, seconds.
_MAJORITY_AFTER = 5.0
# A worker whose record has not changed for this long is gone, seconds.
_GONE_AFTER = 5.0
# How long a fleet must have been split before that is reported, seconds.
_SPLIT_AFTER = 2.0
# How long a cluster must have been reachable before a worker joins the majority there, seconds: the first figure;
# from the second time within an hour the second figure, which doubles up to the third.
_STABLE_AFTER, _UNSTABLE_AFTER, _LONGEST_AFTER = 2.0, 5.0, 600.0
_JOINS_REMEMBERED = 3600.0
# Pause before another attempt at a destination, seconds; doubles up to the second figure.
_RETRY, _LONGEST_RETRY = 2.0, 60.0


@dataclass(frozen=True)
class Location:
    """Where this worker is.

    :param worker: its id
    :param current: label of its cluster
    :param reach: labels of the clusters that it can switch to
    """

    worker: str
    current: str | None
    reach: frozenset[str]


@dataclass(frozen=True)
class Destination:
    """Where this worker should switch now, and why."""

    label: str
    holds: bool
    why: str
    order: Order | None


@dataclass
class _Sighting:
    """A worker as it was last seen.

    :param heartbeats: those of all records under its id; more than one only if not all are its own
    """

    record: WorkerRecord
    heartbeats: frozenset[int]
    changed_at: float


@dataclass
class _Retry:
    """When to try a destination again that could not be reached."""

    label: str = ""
    at: float = 0.0
    failures: int = 0


@dataclass
class FleetPolicy:
    """The policy of one worker. Used by one thread."""

    desired: Desired | None = None
    changed_at: float = -math.inf  # when a worker last switched, or was ordered to
    _sightings: dict[str, _Sighting] = field(default_factory=dict)
    _majority: tuple[str, float] | None = None  # where it is, since when
    _pending: Order | None = None  # the order that this worker has yet to carry out
    _done: Order | None = None  # the last order that it has carried out
    _reachable_since: dict[str, float] = field(default_factory=dict)
    _joined: dict[str, list[float]] = field(default_factory=dict)  # when it joined the majority, by cluster
    _retry: _Retry = field(default_factory=_Retry)
    _split_since: float | None = None
    _split_reported: bool = False

    # What is seen.

    def observe(
        self,
        records: Iterable[WorkerRecord],
        location: Location,
        now: float,
        unreadable: Collection[str] = frozenset(),
    ) -> None:
        """Take the records of all clusters that could be read, with this worker's own if it serves.

        :param unreadable: ids of workers whose records could not be read: they have not gone for that
        """
        found: dict[str, list[WorkerRecord]] = {}
        for record in records:
            found.setdefault(record.id, []).append(record)
        for worker in self._sightings.keys() - found.keys() - set(unreadable):
            del self._sightings[worker]
        for worker, candidates in found.items():
            self._see(worker, candidates, now)
        self._update_majority(now)
        self._update_reach(location.reach, now)

    def _see(self, worker: str, candidates: list[WorkerRecord], now: float) -> None:
        """Take the newest record of a worker. Any change of a heartbeat is life; the highest may be a forged one."""
        seen = self._sightings.get(worker)
        changed = [one for one in candidates if seen is None or one.heartbeat not in seen.heartbeats]
        newest = max(changed or candidates, key=lambda record: record.heartbeat)
        heartbeats = frozenset(record.heartbeat for record in candidates)
        if seen is None:
            self._sightings[worker] = _Sighting(newest, heartbeats, now)
            return
        seen.heartbeats = heartbeats
        if changed:
            if newest.current_cluster != seen.record.current_cluster:
                self.changed_at = now
            seen.record, seen.changed_at = newest, now

    def forget_majority(self) -> None:
        """Start counting anew, since no cluster could be read."""
        self._majority = None
        self._split_since = None

    def receive(self, desired: Desired, worker: str, now: float) -> bool:
        """Take a desired state that was read or written; return whether it is new.

        :param worker: id of this worker
        """
        if not desired.is_newer_than(self.desired):
            return False
        if self.desired is not None and desired.round != self.desired.round:
            self._done = None  # its generation says nothing any more
        self.desired = desired
        order = desired.order_for(worker)
        is_new = self._done is None or (order != self._done and order.generation >= self._done.generation)
        self._pending = order if order.is_binding and is_new else None
        self._retry = _Retry()
        self.changed_at = now
        if order.is_binding and self._majority is not None:
            # Every worker gets the time to carry out the order before the majority counts.
            self._majority = self._majority[0], now
        return True

    def live(self, now: float) -> list[WorkerRecord]:
        """The serving workers, by id."""
        alive = [seen.record for seen in self._sightings.values() if now - seen.changed_at < _GONE_AFTER]
        return sorted(alive, key=lambda record: record.id)

    def is_split(self, now: float) -> bool:
        """Whether the fleet is on more than one cluster."""
        return len(self._workers_on(now)) > 1

    @property
    def majority(self) -> str | None:
        """The cluster that the strict majority is on."""
        return None if self._majority is None else self._majority[0]

    @property
    def has_pending_order(self) -> bool:
        """Whether this worker has an order that it has not carried out yet."""
        return self._ordered_destination() is not None

    def are_all_on(self, label: str, now: float) -> bool:
        """Whether every worker is on one cluster, and the majority has been for long enough."""
        return self._settled_majority(now) == label and all(
            record.current_cluster == label for record in self.live(now)
        )

    # What follows from it.

    def lasting_split(self, now: float) -> Mapping[str, int] | None:
        """The number of workers on each cluster, once for each split that lasts."""
        if not self.is_split(now):
            self._split_since, self._split_reported = None, False
            return None
        if self._split_since is None:
            self._split_since = now
        if self._split_reported or now - self._split_since < _SPLIT_AFTER:
            return None
        self._split_reported = True
        return dict(sorted(self._workers_on(now).items()))

    def desired_by_majority(self, now: float) -> Desired | None:
        """The new desired state, if the majority has been on another cluster for long enough."""
        label = self._settled_majority(now)
        if label is None or (self.desired is not None and self.desired.fleet.label == label):
            return None
        try:
            return by_majority(self.desired, label)
        except HighestGeneration:
            return None

    def destination(self, location: Location, now: float) -> Destination | None:
        """Where this worker should switch now, if anywhere."""
        destination = self._ordered_destination() or self._majority_destination(location, now)
        if destination is None or (destination.label == self._retry.label and now < self._retry.at):
            return None
        return destination

    def arrived(self, destination: Destination, now: float) -> None:
        """This worker has switched to its destination."""
        self._retry = _Retry()
        if destination.order is None:
            self._joined.setdefault(destination.label, []).append(now)
        else:
            self.carried_out(destination.order)

    def carried_out(self, order: Order) -> None:
        """This worker has carried out an order."""
        self._done = order
        if self._pending == order:
            self._pending = None

    def failed(self, destination: Destination, now: float) -> None:
        """This worker could not switch to its destination."""
        failures = 1 + (self._retry.failures if self._retry.label == destination.label else 0)
        self._retry = _Retry(destination.label, now + backoff(_RETRY, failures, _LONGEST_RETRY), failures)

    def _ordered_destination(self) -> Destination | None:
        order = self._pending
        if order is None or order.label is None:
            return None
        why = f"as ordered by {order.by} (generation {order.generation})"
        return Destination(order.label, order.holds, why, order)

    def _majority_destination(self, location: Location, now: float) -> Destination | None:
        label = self._settled_majority(now)
        if label is None or label == location.current or location.current is None:
            return None
        own = self.desired.overrides.get(location.worker) if self.desired is not None else None
        if own is not None and own.label == location.current:
            return None  # an order of its own sent it here
        if now - self._reachable_since.get(label, now) < self._required_uptime(label, now):
            return None
        live = self.live(now)
        there = sum(1 for record in live if record.current_cluster == label)
        holds = self.desired is not None and self.desired.fleet.holds
        return Destination(label, holds, f"where {there} of {len(live)} workers are", None)

    def _settled_majority(self, now: float) -> str | None:
        if self._majority is None or now - self._majority[1] < _MAJORITY_AFTER:
            return None
        return self._majority[0]

    def _update_majority(self, now: float) -> None:
        live = self.live(now)
        counts = self._workers_on(now)
        label = next((label for label, count in counts.items() if 2 * count > len(live)), None)
        if label is None:
            self._majority = None
        elif self._majority is None or self._majority[0] != label:
            self._majority = label, now

    def _workers_on(self, now: float) -> Counter[str]:
        places = (record.current_cluster for record in self.live(now))
        return Counter(label for label in places if label is not None)

    def _update_reach(self, reach: Collection[str], now: float) -> None:
        kept = {label: since for label, since in self._reachable_since.items() if label in reach}
        self._reachable_since = {label: kept.get(label, now) for label in reach}
        if self._retry.label in reach and self._retry.label not in kept:
            self._retry = _Retry()

    def _required_uptime(self, label: str, now: float) -> float:
        """How long a cluster must have been reachable: the longer, the more often it was joined and lost again."""
        times = [at for at in self._joined.get(label, ()) if now - at < _JOINS_REMEMBERED]
        self._joined[label] = times
        return backoff(_UNSTABLE_AFTER, len(times), _LONGEST_AFTER) if times else _STABLE_AFTER
