"""What happens after a POST to ``/reset`` or ``/switch``, ``flask hazelcast reset`` or ``client.reset()``.

1. Connect and read who belongs to the fleet.
2. Refuse the command if a worker cannot reach the target, unless it is forced. Nothing has changed then.
3. Write the desired state, by which the other workers switch, and switch this process.
4. Wait until the others have arrived, and report who has not.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from hazelcast.errors import HazelcastClientNotActiveError

from .._fleet_control import CommandResult, Precondition, SwitchCommand, TargetUnreachable, UnknownTarget
from .._foreign_text import MAX_LISTED, MAX_NAME, printable, quoted
from .._threads import resting
from ..client import HazelcastClient
from ..client.events import Reason
from ..client.options import Options, Standby
from ..client.status import Condition, State
from ..errors import ClientOfflineException
from .participation import READ_TIMEOUT, Participation
from .records import (
    HIGHEST,
    AtHighest,
    Desired,
    OrderSource,
    ReachabilityQuestion,
    WorkerRecord,
    for_all,
    for_some,
)
from .worker_identity import FleetView

# How long a command waits for the client's first connections, for workers that are connecting to the target, and
# for workers to arrive, seconds.
_CONNECT_TIMEOUT, _REACH_TIMEOUT, _ARRIVAL_TIMEOUT = 2.0, 1.0, 1.5
# Between two looks while waiting, seconds.
_POLL_INTERVAL = 0.05

_logger = logging.getLogger("flask_hazelcast_failover.fleet")


class CommandRunner:
    """Carries out commands in the process that received them, in the caller's thread."""

    def __init__(self, client: HazelcastClient, options: Options, participation: Participation) -> None:
        self._client = client
        self._options = options
        self._participation = participation

    def run(self, command: SwitchCommand, *, holds: bool) -> CommandResult:
        """Switch the workers that the command names.

        :param holds: whether they stay on the target, without automatic failback
        :raises UnknownTarget: there is no such cluster or worker
        :raises TargetUnreachable: the precondition does not hold, and nothing has changed
        """
        labels = self._participation.labels
        label = labels[0] if command.label is None else command.label
        _refuse_unknown("cluster", [label], labels)
        view = self._connect()
        me = self._client.status().worker
        workers = {record.id: record for record in view.workers}
        counts_itself = self._participation.is_serving or not self._participation.takes_part
        known = sorted({*workers, me} if counts_itself else workers)
        told = tuple(known) if command.workers is None else command.workers
        _refuse_unknown("worker", told, known)
        is_forced = command.precondition is Precondition.NONE
        if not (is_forced and told):
            self._refuse_unknown_fleet(view)
        if not told:  # a shell has run the command, and no worker serves
            return CommandResult(view.desired.generation if view.desired else 0, (), (), ())
        others = [workers[worker] for worker in told if worker != me]
        if not is_forced:
            self._refuse_after_highest(view)
            self._refuse_unreachable(self._wait_for_reach(others, label), label, me in told)
        desired, has_switched = self._order_and_switch(command, label, told, holds=holds)
        done: tuple[str, ...] = (me,) if has_switched else ()
        if others:
            done = self._wait_for_arrival(told, label, done)
        return CommandResult(desired.generation, told, done, tuple(w for w in told if w not in done))

    def _refuse_unknown_fleet(self, view: FleetView) -> None:
        """Who cannot read the fleet's records does not act as if it were alone."""
        if self._participation.takes_part and not view.is_known:
            name = self._participation.worker.identity.fleet
            raise TargetUnreachable(f"the records of fleet {name} cannot be read at the moment")

    def _refuse_after_highest(self, view: FleetView) -> None:
        if view.desired is not None and view.desired.generation >= HIGHEST:
            generation = view.desired.generation
            raise TargetUnreachable(
                f"the fleet's last order has the highest generation, {generation}: force the next one, which begins at 1"
            )

    # 1. Who belongs to the fleet.

    def _connect(self) -> FleetView:
        """Connect, if that is possible soon, and read the fleet's records."""
        self._client.control.connect_soon()
        end = time.monotonic() + _CONNECT_TIMEOUT
        while self._is_connecting() and time.monotonic() < end:
            with resting():
                time.sleep(_POLL_INTERVAL / 5)
        end = time.monotonic() + READ_TIMEOUT
        while not (view := self._participation.refresh()).is_known and self._participation.takes_part:
            if self._client.status().state is not State.CONNECTED or time.monotonic() >= end:
                break
            with resting():
                time.sleep(_POLL_INTERVAL)
        return view

    def _is_connecting(self) -> bool:
        status = self._client.status()
        if status.state in (State.IDLE, State.SWITCHING):
            return True
        hot = self._options.standby is Standby.HOT and status.state is State.CONNECTED
        return hot and any(cluster.state is Condition.CONNECTING for cluster in status.clusters)

    # 2. Whether they can reach the target.

    def _wait_for_reach(self, others: Sequence[WorkerRecord], label: str) -> Sequence[WorkerRecord]:
        """Give workers that have just begun to connect some time; return their new records."""
        ids = {record.id for record in others}
        end = time.monotonic() + _REACH_TIMEOUT
        while _without_reach(others, label) and time.monotonic() < end:
            with resting():
                time.sleep(_POLL_INTERVAL)
            others = [record for record in self._participation.refresh().workers if record.id in ids]
        return others

    def _refuse_unreachable(self, others: Sequence[WorkerRecord], label: str, with_me: bool) -> None:
        missing = _without_reach(others, label) or self._ask_to_try(others, label)
        if not missing:
            return  # whether this process can reach it shows when it switches
        if with_me and not self._participation.is_cold:
            reach = tuple(self._client.control.connected_clusters())
            me = self._participation.worker.identity.record(self._client.status(), reach)
            missing += _without_reach([me], label)
        missing.sort(key=lambda record: record.id)
        named = ", ".join(f"{record.id} (on {record.current_cluster or 'none'})" for record in missing)
        raise TargetUnreachable(f"{label} cannot be reached by {named}")

    def _ask_to_try(self, others: Sequence[WorkerRecord], label: str) -> list[WorkerRecord]:
        """Have workers without standby try to connect; return those that could not, or did not answer in time."""
        asked = [record for record in others if record.has_to_try]
        if not asked:
            return []
        question = ReachabilityQuestion(uuid.uuid4().hex, label, tuple(record.id for record in asked))
        answers = dict[str, bool]()
        end = time.monotonic() + self._options.connect_timeout + _ARRIVAL_TIMEOUT
        try:
            self._participation.worker.put_question(question, READ_TIMEOUT)
            while len(answers) < len(asked) and time.monotonic() < end:
                with resting():
                    time.sleep(_POLL_INTERVAL)
                for record in self._participation.refresh().workers:
                    for answer in record.answers:
                        if answer.question == question.id:
                            answers[record.id] = answer.can_reach
        except Exception as error:
            _logger.warning(
                "fleet %s: could not ask its workers: %s", self._participation.worker.identity.fleet, error
            )
        return [record for record in asked if not answers.get(record.id)]

    # 3. The switch.

    def _order_and_switch(
        self, command: SwitchCommand, label: str, told: Sequence[str], *, holds: bool
    ) -> tuple[Desired, bool]:
        """Return the desired state, and whether this process has switched."""
        index = self._participation.labels.index(label)
        switch = partial(self._client.control.switch, index, Reason.MANUAL, holds=holds)
        # Without standby, switching closes the connection over which the others are told, so it comes last.
        first = partial(self._client.control.try_to_connect, index) if self._participation.is_cold else switch
        with self._participation.worker.pause_switching():
            is_told = self._client.status().worker in told
            has_switched = is_told and self._succeeds(first, command.precondition)
            desired = self._write_desired(command, label, told, holds=holds)
            if has_switched and self._participation.is_cold:
                has_switched = self._succeeds(switch, Precondition.NONE)
            if has_switched:
                self._mark_done(desired)
        return desired, has_switched

    def _succeeds(self, connect: Callable[[], None], precondition: Precondition) -> bool:
        try:
            connect()
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            if precondition is Precondition.ALL_CAN_REACH_IT:
                raise TargetUnreachable(f"{error} (process {self._client.status().worker})") from error
            return False
        return True

    def _write_desired(
        self, command: SwitchCommand, label: str, told: Sequence[str], *, holds: bool
    ) -> Desired:
        by = printable(command.by, MAX_NAME) or "unknown"
        at_highest = AtHighest.BEGIN_AGAIN  # what is not forced was refused before anything changed

        def make(view: FleetView) -> Desired:
            last = view.desired
            if command.workers is None:
                return for_all(last, label, by, OrderSource.COMMAND, holds=holds, at_highest=at_highest)
            usual = view.majority
            return for_some(last, told, label, by, usual=usual, holds=holds, at_highest=at_highest)

        worker = self._participation.worker
        if not self._participation.takes_part:
            return make(worker.view)
        try:
            return worker.write_desired(make, 2 * READ_TIMEOUT)
        except Exception as error:
            _logger.warning("fleet %s: could not tell the other workers: %s", worker.identity.fleet, error)
            return make(worker.view)

    def _mark_done(self, desired: Desired) -> None:
        if not self._participation.takes_part:
            return
        worker = self._participation.worker
        try:
            worker.mark_done(desired, READ_TIMEOUT)
        except (
            Exception
        ) as error:  # if the target is lost now and comes back, this process may switch once more
            _logger.debug("fleet %s: could not mark an order as done: %s", worker.identity.fleet, error)

    # 4. Who has arrived.

    def _wait_for_arrival(self, told: Sequence[str], label: str, done: tuple[str, ...]) -> tuple[str, ...]:
        """Wait for the workers that were told; return those that have arrived."""
        end = time.monotonic() + _ARRIVAL_TIMEOUT
        while True:
            workers = self._participation.refresh().workers
            there = {*done, *(record.id for record in workers if record.current_cluster == label)}
            arrived = tuple(worker for worker in told if worker in there)
            if len(arrived) == len(told) or time.monotonic() > end:
                return arrived
            with resting():
                time.sleep(_POLL_INTERVAL)


def _without_reach(workers: Iterable[WorkerRecord], label: str) -> list[WorkerRecord]:
    return [record for record in workers if label not in record.reach]


def _refuse_unknown(what: str, given: Iterable[str], valid: Sequence[str]) -> None:
    for name in given:
        if name not in valid:
            there = ", ".join(map(quoted, valid[:MAX_LISTED])) or "none"
            more = f" and {len(valid) - MAX_LISTED} more" if len(valid) > MAX_LISTED else ""
            raise UnknownTarget(f"unknown {what} {quoted(name)}; there is {there}{more}")
