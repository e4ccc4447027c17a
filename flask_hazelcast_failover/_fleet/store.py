"""The fleet's map on each cluster: the meeting place of its processes.

Everything is asked for without waiting and waited for together, and nobody waits for a cluster that
still owes an answer: a frozen one must not hold up a wish to leave it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hazelcast.future import Future
from hazelcast.proxy import MAP_SERVICE

from flask_hazelcast_failover._fleet.records import Desired, ReachabilityQuestion, WorkerRecord
from flask_hazelcast_failover.client.control import OfficialClient

__all__ = [
    "MAP_PREFIX",
    "ClusterStore",
    "FleetStore",
    "StoreSnapshot",
    "claim_arrival",
    "map_name",
    "read_once",
]

_logger = logging.getLogger("flask_hazelcast_failover.fleet")

MAP_PREFIX = "hazelcast-failover-fleet."
"""What the names of fleets' maps begin with."""

_DESIRED, _QUESTION, _WORKER, _ARRIVED = "desired", "question/", "worker/", "arrived"
# Rung when there is another question, since a listener hears of one key.
_BELL = "bell"

# How long a record outlives its last writing, seconds. It ends on a whole second: 4 to 5 it is.
_RECORD_TTL = 5
_RENEWAL = 0.8
# For how long processes that come to a cluster come in the same switch, seconds.
_SWITCH_TTL = 30
# For how long a question is of interest, seconds: longer than an attempt takes.
_QUESTION_TTL = 60
# For how long what was wanted outlives the processes of a server, seconds. That of a named fleet stays.
_SERVER_TTL = 600
# How old what was read may be, seconds.
_FRESH = 3.0
# How long the others are waited for once one cluster has answered, seconds.
_GRACE = 0.2


def map_name(fleet: str) -> str:
    """The name of the map of a fleet."""
    return MAP_PREFIX + fleet


class StoreSnapshot:
    """What a board said last."""

    def __init__(self, entries: Iterable[tuple[object, object]], at: float) -> None:
        self.at = at
        self.records: list[WorkerRecord] = []
        self.desired_text: str | None = None
        self.questions: list[ReachabilityQuestion] = []
        self.arrival: str | None = None  # the first arrival of the last switch
        for key, text in entries:
            if key == _DESIRED and isinstance(text, str):
                self.desired_text = text
            elif isinstance(key, str) and key.startswith(_QUESTION):
                question = ReachabilityQuestion.from_text(text)
                self.questions += [] if question is None else [question]
            elif key == _ARRIVED and isinstance(text, str):
                self.arrival = text
            elif isinstance(key, str) and key.startswith(_WORKER):
                record = WorkerRecord.from_text(text)
                if record is not None:
                    self.records.append(record)
        self.desired = None if self.desired_text is None else Desired.from_text(self.desired_text)


class ClusterStore:
    """The fleet's map on one cluster, over one connection.

    :param on_news: called on a thread that must not wait, when somebody wants something
    """

    def __init__(self, client: OfficialClient, name: str, on_news: Callable[[], None]) -> None:
        self.client = client
        self.reading: StoreSnapshot | None = None
        self._name = name
        self._on_news = on_news
        self._map: Any = None
        self._opening: Future[Any] | None = None  # under way
        self._asked: Future[Any] | None = None  # likewise
        self._put: WorkerRecord | None = None
        self._put_at = 0.0

    def open(self) -> Future[Any] | None:
        """Have the map made, unless it is there or on its way."""
        opening = self._opening
        if self._map is not None or (opening is not None and not opening.done()):
            return None
        if opening is None:
            self._opening = self.client.create_proxy(MAP_SERVICE, self._name)
            return self._opening
        self._opening = None  # if it failed, there will be another
        self._map = opening.result()
        for key in (_DESIRED, _BELL):
            self._map.add_entry_listener(key=key, added_func=self._heard, updated_func=self._heard)
        return None

    def ask(self) -> Future[Any] | None:
        """Ask for everything, unless an answer is still due."""
        if self._map is None or self._asked is not None:
            return None
        asked: Future[Any] = self._map.entry_set()
        self._asked = asked
        return asked

    def take(self, now: float) -> None:
        """Take the answer, if there is one."""
        asked = self._asked
        if asked is not None and asked.done():
            self._asked = None
            self.reading = StoreSnapshot(asked.result(), now)

    def put(self, record: WorkerRecord, now: float) -> None:
        """Write the record of a process, if it says something new or it is time; nobody waits for that."""
        is_due = record != self._put or now - self._put_at >= _RENEWAL
        if self._map is not None and is_due:
            self._put, self._put_at = record, now
            self._map.set(_WORKER + record.id, record.as_text(), ttl=_RECORD_TTL)

    def remove(self, worker: str) -> Future[Any] | None:
        """Remove the record of a process."""
        return None if self._map is None else self._map.delete(_WORKER + worker)

    def write(self, desired: Desired, ttl: int) -> Future[Any] | None:
        """Write what is wanted in place of what was read; the result is true if nobody was faster."""
        reading = self.reading
        if self._map is None or reading is None:
            return None
        text, found = desired.as_text(), self._map
        if reading.desired_text is None:
            written = found.put_if_absent(_DESIRED, text, ttl=ttl).continue_with(_was_absent)
        else:
            written = found.replace_if_same(_DESIRED, reading.desired_text, text)

        def keep(future: Future[Any]) -> bool:
            if not future.result():
                return False
            found.set_ttl(_DESIRED, ttl)  # the member's configuration may have another for it
            reading.desired_text, reading.desired = text, desired
            return True

        kept: Future[Any] = written.continue_with(keep)
        return kept

    def pose(self, question: ReachabilityQuestion) -> None:
        """Write a question; nobody waits for that."""
        if self._map is not None:
            self._map.set(_QUESTION + question.id, question.as_text(), ttl=_QUESTION_TTL)
            self._map.set(_BELL, question.id, ttl=_QUESTION_TTL)

    def lacks(self, desired: Desired) -> bool:
        """Whether something older, or nothing, was read of what is wanted, and the cluster owes no answer."""
        reading, answers = self.reading, self._asked is None
        return answers and reading is not None and desired.is_newer_than(reading.desired)

    def keep_desired(self, ttl: int) -> None:
        """Let what is wanted live for another while; nobody waits for that."""
        if self._map is not None:
            self._map.set_ttl(_DESIRED, ttl)

    def forget_arrival(self) -> None:
        """Let the next one to come be the first again, unless there was another since; nobody waits for that."""
        reading = self.reading
        if self._map is not None and reading is not None and reading.arrival is not None:
            self._map.remove_if_same(_ARRIVED, reading.arrival)
            reading.arrival = None

    def _heard(self, _: object) -> None:
        self._on_news()


class FleetStore:
    """The boards of one fleet. They belong to one thread, but for :meth:`remove`.

    :param fleet: name of the fleet
    :param is_named: whether it was given that name, and so outlives this server
    :param on_news: called when somebody wants something; must not wait
    """

    def __init__(self, fleet: str, is_named: bool, on_news: Callable[[], None]) -> None:
        self._name = map_name(fleet)
        self._ttl = 0 if is_named else _SERVER_TTL
        self._on_news = on_news
        self._kept_at = time.monotonic()
        self._boards: dict[str, ClusterStore] = {}  # replaced as a whole

    def follow(self, clients: Mapping[str, OfficialClient]) -> None:
        """Have a board for each of these connections and for no other."""
        boards: dict[str, ClusterStore] = {}
        for label, client in clients.items():
            board = self._boards.get(label)
            if board is not None and board.client is client:
                boards[label] = board
                continue
            try:
                boards[label] = ClusterStore(client, self._name, self._on_news)
            except Exception as error:
                _logger.debug("no board on %s: %s", label, error)
        self._boards = boards

    def read(self, patience: float) -> list[StoreSnapshot]:
        """What the boards say, those that answer in time.

        :param patience: seconds that are waited at most
        """
        end = time.monotonic() + patience
        boards = self._boards.values()
        _wait(_each(boards, ClusterStore.open), end)
        _each(boards, ClusterStore.open)  # takes those that are there now
        _wait(_each(boards, ClusterStore.ask), end, _GRACE)
        now = time.monotonic()
        _each(boards, lambda board: board.take(now))
        found = [board.reading for board in boards]
        return [reading for reading in found if reading is not None and now - reading.at < _FRESH]

    def put(self, record: WorkerRecord, now: float) -> None:
        """Write the record of this process on every board."""
        _each(self._boards.values(), lambda board: board.put(record, now))

    def remove(self, worker: str, patience: float) -> None:
        """Remove the record of this process from every board."""
        removed = _each(self._boards.values(), lambda board: board.remove(worker))
        _wait(removed, time.monotonic() + patience)

    def write(self, desired: Desired, patience: float) -> bool:
        """Write what is wanted on every board that has something older; false if somebody was faster."""
        end = time.monotonic() + patience
        older = [board for board in self._boards.values() if board.lacks(desired)]
        # The first one on its own: of two processes at once, one finds out there that it came second.
        for boards in (older[:1], older[1:]):
            written = _each(boards, lambda board: board.write(desired, self._ttl))
            _wait(written, end)
            if any(_result(future) is False for future in written):
                return False
        return True

    def pose(self, question: ReachabilityQuestion) -> None:
        """Write a question on every board."""
        _each(self._boards.values(), lambda board: board.pose(question))

    def forget_arrival(self, label: str) -> None:
        """The switch to a cluster is over: all are there."""
        if label in self._boards:
            _each([self._boards[label]], ClusterStore.forget_arrival)

    def keep_desired(self, now: float) -> None:
        """Have what is wanted outlive pauses, as long as there are processes."""
        if self._ttl and now - self._kept_at > self._ttl / 10:
            self._kept_at = now
            _each(self._boards.values(), lambda board: board.keep_desired(self._ttl))


def read_once(client: OfficialClient, fleet: str, patience: float) -> StoreSnapshot:
    """What a fleet has left on one cluster, over a connection that has no board yet.

    :param patience: seconds; raises ``TimeoutError`` after that
    """
    end = time.monotonic() + patience
    (found,) = _results([client.create_proxy(MAP_SERVICE, map_name(fleet))], end)
    (entries,) = _results([found.entry_set()], end)
    return StoreSnapshot(entries, time.monotonic())


def claim_arrival(
    clients: Mapping[str, OfficialClient], label: str, fleet: str, worker: str, patience: float
) -> bool | None:
    """Whether this process is the first of its fleet to come to a cluster; ``None`` if nobody knows in time.

    Over connections that may have no board yet, from any thread.

    :param worker: id of this process: the first one of the last switch, if it was there, is it again
    :param patience: seconds
    """
    end = time.monotonic() + patience
    name = map_name(fleet)
    try:
        (found,) = _results([clients[label].create_proxy(MAP_SERVICE, name)], end)
        mark = f"{worker} {uuid.uuid4().hex}"
        (before,) = _results([found.put_if_absent(_ARRIVED, mark, ttl=_SWITCH_TTL)], end)
        is_first = before is None or str(before).startswith(f"{worker} ")
        if is_first:
            # Who goes back to where the fleet came from is the first again.
            for other in clients.keys() - {label}:
                clients[other].create_proxy(MAP_SERVICE, name).add_done_callback(_forget_arrival)
    except Exception as error:
        _logger.debug("nobody knows who was the first to come to %s: %s", label, error)
        return None
    return is_first


def _forget_arrival(opened: Future[Any]) -> None:
    try:
        opened.result().delete(_ARRIVED)
    except Exception as error:
        _logger.debug("an arrival was not forgotten: %s", error)


def _each(
    boards: Iterable[ClusterStore], ask: Callable[[ClusterStore], Future[Any] | None]
) -> list[Future[Any]]:
    """Ask each board; one that fails, as a lost one does, is left out."""
    asked = []
    for board in boards:
        try:
            future = ask(board)
        except Exception as error:
            _logger.debug("a board failed: %s", error)
        else:
            asked += [] if future is None else [future]
    return asked


def _results(asked: Sequence[Future[Any]], end: float) -> list[Any]:
    """The results of all of them. Raises ``TimeoutError`` if one is not done at ``end``, monotonic seconds."""
    _wait(asked, end)
    if not all(future.done() for future in asked):
        raise TimeoutError("no answer in time")
    return [future.result() for future in asked]


def _wait(asked: Sequence[Future[Any]], end: float, grace: float = math.inf) -> None:
    """Wait for all of them until ``end``, and ``grace`` seconds at most once one is done."""
    done = threading.Semaphore(0)
    for future in asked:
        future.add_done_callback(lambda _: done.release())
    for _ in asked:
        if not done.acquire(timeout=max(0.0, end - time.monotonic())):
            return
        end = min(end, time.monotonic() + grace)


def _result(future: Future[Any]) -> Any | None:
    """What came of it; ``None`` if nothing did, or not yet."""
    try:
        return future.result() if future.done() else None
    except Exception as error:
        _logger.debug("a board did not answer: %s", error)
        return None


def _was_absent(future: Future[Any]) -> bool:
    return future.result() is None
