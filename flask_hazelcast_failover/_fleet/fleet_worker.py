"""The one thread of a fleet in a process: writes, reads, decides, about once a second and when there is news."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from contextlib import contextmanager
from typing import TypeVar

from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover._fleet.policy import Destination, FleetPolicy, Location
from flask_hazelcast_failover._fleet.records import (
    Desired,
    Order,
    OrderSource,
    ReachabilityAnswer,
    ReachabilityQuestion,
    WorkerRecord,
    for_all,
)
from flask_hazelcast_failover._fleet.store import FleetStore, StoreSnapshot
from flask_hazelcast_failover._fleet.worker_identity import FleetView, WorkerIdentity
from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.client.events import FleetSplit, Reason
from flask_hazelcast_failover.client.status import ClientStatus, State
from flask_hazelcast_failover.errors import ClientOfflineException

__all__ = ["FleetWorker"]

_logger = logging.getLogger("flask_hazelcast_failover.fleet")

# Not the one that apps and tests may have seeded: this thread would take numbers out of its sequence.
_chance = random.SystemRandom()

# Between two beats, seconds: usually, and for a while after somebody has moved.
_PACE, _BRISK = 1.0, 0.15
_WHILE = 2.0
# How long a cluster may take to answer, seconds.
_ANSWER = 0.5
# How long a process that can read nothing takes that for no answer, seconds.
_LONGEST_LOOK = 10.0
# How often a wish is written again when somebody else was faster.
_TRIES = 5

Result = TypeVar("Result")


class FleetWorker:
    """Keeps one process in touch with its fleet, from the client's first connection to its end.

    :param serves: whether this process counts
    """

    def __init__(self, client: HazelcastClient, member: WorkerIdentity, serves: Callable[[], bool]) -> None:
        self.view = FleetView()  # replaced as a whole by the pulse's thread
        self.met: tuple[str, ...] = ()  # ids of the processes when they could last be seen; likewise
        self._client = client
        self.member = member
        self._serves = serves
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], object]] = deque()  # under _changed
        self._thread: threading.Thread | None = None  # under _changed
        self._woken = False  # under _changed
        self._stopped = False  # under _changed
        self._staying = 0  # under _changed: how many move this process themselves
        self.boards = FleetStore(member.fleet, member.is_named, self.wake)
        # From here on of the pulse's thread.
        self._rules = FleetPolicy()
        self._beats = 0
        self._next_at = 0.0
        self._has_met = False
        self._began: float | None = None  # monotonic seconds
        self._is_moving = False
        self._asked: deque[ReachabilityQuestion] = deque(
            maxlen=8
        )  # the last ones that were put to this process
        self._answers: deque[ReachabilityAnswer] = deque(maxlen=8)
        self._failback_epoch = 0  # up to which the fleet need be told of no failback any more
        self._has_failed = False

    # For other threads.

    def wake(self) -> None:
        """Have a beat soon. Does not wait."""
        with self._changed:
            self._woken = True
            self._run_if_needed()
            self._changed.notify_all()

    def ask(self, task: Callable[[], Result], timeout: float) -> Result:
        """Have something done by the pulse's thread.

        :param timeout: seconds; raises ``TimeoutError`` after that
        """
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(task())
            except Exception as error:
                done.set_exception(error)

        with self._changed:
            if self._stopped:
                raise TimeoutError("the fleet was left")
        self._do_soon(run)
        try:
            return done.result(timeout)
        except NotDone:  # which is another error than TimeoutError before Python 3.11
            raise TimeoutError("the fleet's thread did not answer in time") from None

    def stop(self, timeout: float) -> None:
        """Remove this process's record and end the thread, ``timeout`` seconds at most."""
        end = time.monotonic() + timeout
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout / 2)
        if self._serves():
            self.boards.remove(self._client.status().worker, end - time.monotonic())

    @contextmanager
    def staying(self) -> Iterator[None]:
        """While somebody else moves this process, the pulse does not."""
        with self._changed:
            self._staying += 1
        try:
            yield
        finally:
            with self._changed:
                self._staying -= 1

    # For the pulse's thread: what is asked for there.

    def look(self) -> FleetView:
        """See how things stand now."""
        self._beat()
        return self.view

    def want(self, make: Callable[[FleetView], Desired]) -> Desired:
        """Write what is wanted, made from what was wanted last."""
        for _ in range(_TRIES):
            desired = make(self.look())
            # Somebody faster may only have passed on what was written here on another cluster.
            if self.boards.write(desired, 2 * _ANSWER) or self.look().desired == desired:
                break
        worker = self._client.status().worker
        self._rules.hear(desired, worker, time.monotonic())
        self._show(self.view.is_known)
        return desired

    def has_done(self, desired: Desired) -> None:
        """This process was moved by who wanted that: should it be elsewhere later, it is not to go there again."""
        status = self._client.status()
        order = desired.order_for(status.worker)
        last = status.history[-1].reason if status.history else None
        if status.current_cluster == order.label or last not in (Reason.MANUAL, Reason.FLEET):
            self._rules.obeyed(order)
        # Else somebody else moved it in the same moment: the order is still to be carried out.

    # The pulse itself.

    def _run_if_needed(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="hazelcast-failover-fleet", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (tasks := self._wait()) is not None:
            try:
                for task in tasks:
                    task()
                if not tasks:
                    self._beat()
            except Exception:
                level = logging.DEBUG if self._has_failed else logging.ERROR
                self._has_failed = True  # it will fail likewise every second
                _logger.log(level, "unexpected failure in the fleet %s", self.member.fleet, exc_info=True)

    def _wait(self) -> list[Callable[[], object]] | None:
        """Wait until there is something to do; ``None`` at the end."""
        with self._changed:
            while not self._tasks and not self._woken and not self._stopped:
                left = self._next_at - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._stopped or (not self._tasks and self._client.status().state in _AT_REST):
                self._thread = None
                return None
            tasks = list(self._tasks)
            self._tasks.clear()
            if not tasks:
                self._woken = False
            return tasks

    def _beat(self) -> None:
        self._beats += 1
        self._next_at = time.monotonic() + _PACE
        status = self._client.status()
        clients = self._client.control.connected_clusters()
        linked = [label for label in self.member.labels if label in clients]
        self.boards.follow({label: clients[label] for label in linked})
        readings = self.boards.read(_ANSWER)
        now = time.monotonic()
        if self._began is None:
            self._began, self._failback_epoch = now, status.epoch
        me = self.member.record(status, linked, self._beats, self._answers)
        place = Location(me.id, me.current_cluster, frozenset(me.reach))
        others = [record for reading in readings for record in reading.records if record.id != me.id]
        self._rules.see([*others, me] if self._serves() else others, place, now)
        self._hear(readings, bool(others), me.id, now)
        if not readings:
            self._rules.in_doubt()
        if self._serves():
            self.boards.put(me, now)
            self._propose(status, me, now)
            if me.current_cluster is not None and self._rules.are_all_there(me.current_cluster, now):
                self.boards.forget_arrival(me.current_cluster)
            self._tell_of_split(now)
            self._try_what_is_asked(readings, me.id)
        else:
            self._failback_epoch = status.epoch  # who speaks for nobody does not do so later
        if self._rules.desired is not None and readings:
            self.boards.write(self._rules.desired, _ANSWER)
            self.boards.keep_desired(now)
        self._show(bool(readings))  # first, so that whoever sees this process elsewhere sees why
        if self._failback_to_tell(status) is None:
            self._go(place, now)
        pace = _PACE if now - self._rules.moved_at > _WHILE else _BRISK
        self._next_at = now + pace * _chance.uniform(0.9, 1.1)

    def _hear(self, readings: Sequence[StoreSnapshot], has_fellows: bool, worker: str, now: float) -> None:
        for reading in readings:
            if reading.desired is not None and (self._has_met or has_fellows or self.member.has_past):
                self._rules.hear(reading.desired, worker, now)
            elif reading.desired is not None:
                # Nobody is left of those who wanted that.
                self._rules.hear(for_all(reading.desired, None, "nobody", OrderSource.NOBODY), worker, now)
        self._has_met = self._has_met or bool(readings)

    def _propose(self, status: ClientStatus, me: WorkerRecord, now: float) -> None:
        """Write what the fleet wants without anybody's asking for it."""
        failback = self._failback_to_tell(status)
        wanted = failback or self._rules.wanted_by_majority(now)
        if wanted is None or not self.boards.write(wanted, _ANSWER):
            return
        self._rules.hear(wanted, me.id, now)
        if failback is not None:
            self._failback_epoch = status.epoch
        _logger.info(
            "fleet %s: its cluster is %s now, by %s (generation %d)",
            self.member.fleet,
            wanted.fleet.label,
            wanted.fleet.by,
            wanted.generation,
        )

    def _failback_to_tell(self, status: ClientStatus) -> Desired | None:
        """A process that found a better cluster fit to return to takes the others along."""
        last = status.history[-1] if status.history else None
        if last is None or last.epoch != status.epoch or last.reason != Reason.FAILBACK:
            return None
        desired = self._rules.desired
        if last.epoch <= self._failback_epoch or (desired and desired.fleet.label == last.current):
            return None
        if desired and desired.fleet.label not in (None, *self.member.labels):
            return None  # it could not follow the others, and speaks for nobody else
        return for_all(desired, last.current, "failback", OrderSource.FAILBACK)

    def _tell_of_split(self, now: float) -> None:
        split = self._rules.lasting_split(now)
        if split is not None:
            counted = ", ".join(f"{count} on {label}" for label, count in split.items())
            _logger.warning("fleet %s is split: %s", self.member.fleet, counted)
            self._client.control.announce(FleetSplit(self.member.fleet, split))

    def _go(self, place: Location, now: float) -> None:
        if self._is_moving or self._staying:
            return
        destination = self._rules.destination(place, now)
        if destination is None:
            return
        if destination.label not in self.member.labels:
            self._rules.failed(destination, now)
            return
        self._is_moving = True
        if destination.label != place.current:
            level = logging.WARNING if self._serves() else logging.INFO  # a shell moves nobody but itself
            _logger.log(
                level, "fleet %s: going to %s %s", self.member.fleet, destination.label, destination.why
            )
        run = threading.Thread(
            target=self._move, args=(destination,), name="hazelcast-failover-fleet-move", daemon=True
        )
        run.start()

    def _move(self, destination: Destination) -> None:
        index = self.member.labels.index(destination.label)
        try:
            self._client.control.switch(index, Reason.FLEET, holds=destination.holds)
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            _logger.info("fleet %s: not on %s: %s", self.member.fleet, destination.label, error)
            end = self._rules.failed
        else:
            end = self._rules.arrived

        def ended() -> None:
            self._is_moving = False
            end(destination, time.monotonic())
            self._beat()

        self._do_soon(ended)

    def _try_what_is_asked(self, readings: Sequence[StoreSnapshot], worker: str) -> None:
        for question in (question for reading in readings for question in reading.questions):
            if question in self._asked or worker not in question.workers:
                continue
            if question.label in self.member.labels:
                self._asked.append(question)
                run = threading.Thread(
                    target=self._try, args=(question,), name="hazelcast-failover-fleet-try", daemon=True
                )
                run.start()

    def _try(self, question: ReachabilityQuestion) -> None:
        try:
            self._client.control.try_to_connect(self.member.labels.index(question.label))
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            _logger.info("fleet %s: cannot go to %s: %s", self.member.fleet, question.label, error)
            answer = ReachabilityAnswer(question.id, can_reach=False)
        else:
            answer = ReachabilityAnswer(question.id, can_reach=True)

        def ended() -> None:
            self._answers.append(answer)
            self._beat()

        self._do_soon(ended)

    def _do_soon(self, task: Callable[[], None]) -> None:
        with self._changed:
            self._tasks.append(task)
            self._run_if_needed()
            self._changed.notify_all()

    def _has_looked(self, now: float) -> bool:
        """Whether it has read what others want, or has tried for long enough."""
        return self._has_met or (self._began is not None and now - self._began > _LONGEST_LOOK)

    def _order(self) -> Order | None:
        """What is wanted of this process, unless that is a cluster which only others have."""
        desired = self._rules.desired
        order = desired.order_for(self._client.status().worker) if desired is not None else None
        return order if order is not None and order.label in self.member.labels else None

    def _show(self, is_known: bool) -> None:
        now = time.monotonic()
        rules = self._rules
        workers, is_split = tuple(rules.live(now)), rules.is_split(now)
        order = self._order()
        is_held = order is not None and order.holds
        is_told = not self._has_looked(now) or (order is not None and rules.is_told)
        self.view = FleetView(workers, rules.desired, is_split, is_known, is_told, is_held, rules.majority)
        if is_known:
            self.met = tuple(record.id for record in self.view.workers)


_AT_REST = (State.IDLE, State.CLOSED)
