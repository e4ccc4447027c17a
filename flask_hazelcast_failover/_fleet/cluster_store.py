"""The fleet's map on one cluster, where its workers meet.

Nothing here waits: every method starts an operation and returns its future, if the caller needs the result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

from hazelcast.future import Future

from .._foreign_text import MAX_NAME, MAX_QUOTED, is_name, printable
from ..client.control import OfficialClient
from .records import Desired, MalformedRecord, ReachabilityQuestion, WorkerRecord

_MAP_PREFIX = "hazelcast-failover-fleet."
_DESIRED, _QUESTION, _WORKER = "desired", "question/", "worker/"
# Written with each question: an entry listener listens to one key, and each question has another.
_QUESTION_ADDED = "bell"
ARRIVED = "arrived"
"""The key of the first arrival of the last switch."""

# How long a record outlives its last write, seconds; members end a time to live on whole seconds: 4 to 5.
_RECORD_TTL = 5
_RECORD_RENEWAL = 0.8
# How long a question is kept, seconds: longer than an attempt takes.
_QUESTION_TTL = 60
# How often a desired state that cannot be read is overwritten, seconds at least: another release may be able to read it.
_OVERWRITE_INTERVAL = 0.5


def map_name(fleet: str) -> str:
    """The name of a fleet's map."""
    return _MAP_PREFIX + fleet


class StoreSnapshot:
    """All entries of a fleet's map on one cluster, as read at one time.

    Each entry is read on its own, and what cannot be read is left out. Keys that this release does not know are those of
    a later one.

    :param at: when, monotonic seconds
    """

    def __init__(self, entries: Iterable[tuple[object, object]], at: float) -> None:
        self.at = at
        self.records: list[WorkerRecord] = []
        self.desired: Desired | None = None
        self.stored_desired: object = None  # as it was read, whatever that is
        self.questions: list[ReachabilityQuestion] = []
        self.arrival: str | None = None  # the first arrival of the last switch
        self.unreadable: dict[str, str] = {}  # key -> why
        self.unreadable_workers: set[str] = set()  # ids: their records are there
        for key, value in entries:
            try:
                self._read(key, value)
            except Exception as error:  # whatever it is, the other entries are read
                self.unreadable[_shown(key)] = printable(str(error), MAX_NAME)
                if isinstance(key, str) and key.startswith(_WORKER):
                    self.unreadable_workers.add(key.removeprefix(_WORKER))

    @property
    def is_desired_unreadable(self) -> bool:
        """Whether there is a desired state that no release could have written."""
        return self.desired is None and self.stored_desired is not None

    def _read(self, key: object, value: object) -> None:
        if not isinstance(key, str):
            raise MalformedRecord(f"the key is no text but a {type(key).__name__}")
        if key == _DESIRED:
            self.stored_desired = value
            self.desired = Desired.from_text(value)
        elif key == ARRIVED:
            if not is_name(value):
                raise MalformedRecord("no arrival of a worker")
            self.arrival = value
        elif key.startswith(_QUESTION):
            question = ReachabilityQuestion.from_text(value)
            _require_key(key, _QUESTION + question.id)
            self.questions.append(question)
        elif key.startswith(_WORKER):
            record = WorkerRecord.from_text(value)
            _require_key(key, _WORKER + record.id)
            self.records.append(record)


def _require_key(key: str, own: str) -> None:
    if key != own:
        raise MalformedRecord("it belongs to another key")


def _shown(key: object) -> str:
    return printable(key, MAX_QUOTED) if isinstance(key, str) else f"a {type(key).__name__}"


class ClusterStore:
    """The fleet's map on one cluster, over one connection.

    :param on_change: called when the desired state changes or a question is added, on a thread that must not wait
    """

    def __init__(self, client: OfficialClient, name: str, on_change: Callable[[], None]) -> None:
        self.client = client
        self.snapshot: StoreSnapshot | None = None
        self._name = name
        self._on_change = on_change
        self._map: Any = None
        self._opening: Future[Any] | None = None  # pending
        self._reading: Future[Any] | None = None  # pending
        self._written: WorkerRecord | None = None
        self._written_at = 0.0
        self._overwritten_at = -math.inf  # when a desired state that could not be read was, monotonic seconds

    def open(self) -> Future[Any] | None:
        """Create the map's proxy; to be called again once the future is done."""
        opening = self._opening
        if self._map is not None or (opening is not None and not opening.done()):
            return None
        if opening is None:
            self._opening = self.client.create_plain_map(self._name)
            return self._opening
        self._opening = None  # the next call tries again if this one failed
        self._map = opening.result()
        for key in (_DESIRED, _QUESTION_ADDED):
            self._map.add_entry_listener(key=key, added_func=self._changed, updated_func=self._changed)
        return None

    def start_read(self) -> Future[Any] | None:
        """Read all entries, unless the last read is still pending."""
        if self._map is None or self._reading is not None:
            return None
        reading: Future[Any] = self._map.entry_set()
        self._reading = reading
        return reading

    def finish_read(self, now: float) -> None:
        """Make the snapshot, if the cluster has answered."""
        reading = self._reading
        if reading is not None and reading.done():
            self._reading = None
            self.snapshot = StoreSnapshot(reading.result(), now)

    def put_record(self, record: WorkerRecord, now: float) -> None:
        """Write a worker's record if it has changed or has to be renewed."""
        is_due = record != self._written or now - self._written_at >= _RECORD_RENEWAL
        if self._map is not None and is_due:
            self._written, self._written_at = record, now
            self._map.set(_WORKER + record.id, record.as_text(), ttl=_RECORD_TTL)

    def remove_record(self, worker: str) -> Future[Any] | None:
        """Remove a worker's record."""
        return None if self._map is None else self._map.delete(_WORKER + worker)

    def is_behind(self, desired: Desired) -> bool:
        """Whether it holds an older desired state, or none. False while a read is pending."""
        snapshot = self.snapshot
        if self._reading is not None or snapshot is None:
            return False
        if snapshot.is_desired_unreadable:
            return time.monotonic() - self._overwritten_at >= _OVERWRITE_INTERVAL
        return desired.is_newer_than(snapshot.desired)

    def write_desired(self, desired: Desired, ttl: int) -> Future[Any] | None:
        """Replace the desired state that was read; the result is false if another worker has changed it since."""
        snapshot = self.snapshot
        if self._map is None or snapshot is None:
            return None
        text, fleet_map = desired.as_text(), self._map
        if snapshot.is_desired_unreadable:
            self._overwritten_at = time.monotonic()
        if snapshot.stored_desired is None:
            written = fleet_map.put_if_absent(_DESIRED, text, ttl=ttl).continue_with(_was_absent)
        else:
            written = fleet_map.replace_if_same(_DESIRED, snapshot.stored_desired, text)

        def on_written(future: Future[Any]) -> bool:
            if not future.result():
                return False
            fleet_map.set_ttl(_DESIRED, ttl)  # the member's configuration may have another default
            snapshot.stored_desired, snapshot.desired = text, desired
            return True

        done: Future[Any] = written.continue_with(on_written)
        return done

    def renew_desired(self, ttl: int) -> None:
        """Restart the time to live of the desired state."""
        if self._map is not None:
            self._map.set_ttl(_DESIRED, ttl)

    def put_question(self, question: ReachabilityQuestion) -> None:
        """Write a question and notify the other workers."""
        if self._map is not None:
            self._map.set(_QUESTION + question.id, question.as_text(), ttl=_QUESTION_TTL)
            self._map.set(_QUESTION_ADDED, question.id, ttl=_QUESTION_TTL)

    def clear_arrival(self) -> None:
        """Remove the first arrival, unless another switch has replaced it: the next worker to arrive is first again."""
        snapshot = self.snapshot
        if self._map is not None and snapshot is not None and snapshot.arrival is not None:
            self._map.remove_if_same(ARRIVED, snapshot.arrival)
            snapshot.arrival = None

    def _changed(self, _: object) -> None:
        self._on_change()


def _was_absent(future: Future[Any]) -> bool:
    return future.result() is None
