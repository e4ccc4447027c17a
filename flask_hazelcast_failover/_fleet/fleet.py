"""Fleet: what an app and its operators ask of all processes together."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover._fleet.fleet_worker import FleetWorker
from flask_hazelcast_failover._fleet.initial_placement import InitialPlacement, preferred_label
from flask_hazelcast_failover._fleet.name import is_server_worker
from flask_hazelcast_failover._fleet.records import (
    Desired,
    OrderSource,
    ReachabilityQuestion,
    WorkerRecord,
    for_all,
    for_some,
)
from flask_hazelcast_failover._fleet.store import claim_arrival, read_once
from flask_hazelcast_failover._fleet.worker_identity import FleetView, WorkerIdentity
from flask_hazelcast_failover._fleet_control import (
    CommandResult,
    Precondition,
    SwitchCommand,
    TargetUnreachable,
    UnknownTarget,
)
from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.client.control import OfficialClient
from flask_hazelcast_failover.client.events import ClusterSwitched, Event, Reason
from flask_hazelcast_failover.client.options import Options, Standby
from flask_hazelcast_failover.client.status import Condition, State
from flask_hazelcast_failover.errors import ClientOfflineException

__all__ = ["Fleet"]

# How long a wish waits for the client's first connections, and for the processes to follow, seconds.
_JOINING, _FOLLOWING = 2.0, 1.5
# How long the fleet's thread may take for a look at all clusters, and how often one is taken, seconds.
_LOOK, _LOOK_PACE = 3.0, 0.05
# How long a question to one cluster may hold up a first connection, seconds.
_FIRST_ANSWER = 2.0
# The same for the signal of a switch: a member that has just started may take its time, and whoever
# does not wait for it sends a second alert.
_ANSWER = 3.0

_NOBODY_ELSE = FleetView()

_logger = logging.getLogger("flask_hazelcast_failover.fleet")


class Fleet:
    """One process's part in its fleet: the client's companion, and who steers for operators.

    :param client: of this process
    :param options: of that client
    :param name: of the fleet, for the process that asks
    :param is_named: whether it was given that name, and so goes beyond this server
    """

    def __init__(
        self, client: HazelcastClient, options: Options, name: Callable[[], str], *, is_named: bool
    ) -> None:
        self._client = client
        self._options = options
        self._name_of = name
        self._is_named = is_named
        self._begin()
        _living.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()  # guards the pulse's making
        self._pulse: FleetWorker | None = None  # made once for each process, under _lock
        self._serves = False  # only ever becomes true
        # Without standby one cluster is asked after the other, so none has another to wait for.
        longest = min(self._options.connect_timeout, self._options.wait_timeout) / 3
        self._newcomer = InitialPlacement(() if self._is_cold else self._labels(), self._down, longest)

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self._own_pulse().member.fleet

    # What the app does.

    def served(self) -> None:
        """A request has come to this process: it is one of the fleet's from now on."""
        if not self._serves:
            self._serves = True
            if self._client.status().state is not State.IDLE:
                self._own_pulse().wake()

    def heard(self, event: Event) -> None:
        """Something happened to the client: others may have to know."""
        if self._takes_part:
            self._own_pulse().wake()

    def signed(self, event: Event) -> Event:
        """The event, a switch with whether this process is the first of the fleet. Takes 3 s at most."""
        if not isinstance(event, ClusterSwitched) or not self._takes_part:
            return event
        if not self._serves:
            return replace(event, fleet_first=False)  # a shell speaks for nobody who serves
        pulse, me = self._own_pulse(), self._client.status().worker
        clients = self._client.control.connected_clusters()
        is_first = claim_arrival(clients, event.current, pulse.member.fleet, me, _ANSWER)
        if is_first is None:
            # That cluster is gone as well, or does not answer: one of those who met before speaks for all.
            is_first = me == min([*pulse.met, me])
        return replace(event, fleet_first=is_first)

    def may_fail_back_to(self, client: OfficialClient) -> bool:
        """Whether nobody wants this process elsewhere, and every one can reach the cluster behind a connection.

        A failback that not all can follow would be taken back by the majority, again and again.
        """
        if not self._takes_part:
            return True
        clusters = self._client.control.connected_clusters()
        label = next((label for label, other in clusters.items() if other is client), None)
        view = self._own_pulse().view
        return label is not None and not (view.is_told or view.is_held or _out_of_reach(view.workers, label))

    # The client's companion.

    def switch_fleet(self, index: int, *, holds: bool) -> None:
        """Move the whole fleet on the app's behalf. Raises ``ClientOfflineException`` if nothing has changed."""
        status = self._client.status()
        if status.state is State.CLOSED:
            raise HazelcastClientNotActiveError("the client was shut down")
        wish = SwitchCommand(status.clusters[index].label, by=f"process {status.worker}")
        try:
            if self._takes_part and not self._serves:  # it is not told with the others, and moves last
                self._client.control.connect_soon()
                self._client.control.try_to_connect(index)
            # One that has gone there may be elsewhere by now, as somebody else has wished since.
            if status.worker not in self._carry_out(wish, holds=holds).done:
                self._client.control.switch(index, Reason.MANUAL, holds=holds)
        except TargetUnreachable as error:
            raise ClientOfflineException(str(error)) from error

    def preferred(self, label: str, client: OfficialClient) -> str | None:
        """Where the fleet wants to be: a late starter goes there first."""
        if not self._takes_part:
            return None
        member = self._own_pulse().member
        word = None
        try:
            reading = read_once(client, member.fleet, _FIRST_ANSWER)
            word = preferred_label(reading, trusts_the_past=member.has_past)
        except Exception as error:
            _logger.debug("%s does not say where fleet %s is: %s", label, member.fleet, error)
        return self._newcomer.hear(label, word)

    def deregister(self, timeout: float) -> None:
        """Be gone for the others at once."""
        with self._lock:
            pulse = self._pulse
        if pulse is not None:
            pulse.stop(timeout)

    # What operators ask.

    def status(self) -> dict[str, Any]:
        """The client's status with what this process knows of its fleet."""
        view = self._view()
        status = self._client.status()
        workers = [record for record in view.workers if record.id != status.worker]
        if self._serves:
            workers.append(self._own_pulse().member.record(status, ()))
        workers.sort(key=lambda record: record.id)
        places = {record.current_cluster for record in workers} - {None}
        fleet = {
            "name": self.name,
            "workers": [record.as_dict() for record in workers],
            "desired": None if view.desired is None else view.desired.as_dict(),
            "split": len(places) > 1,
        }
        return {**status.as_dict(), "fleet": fleet}

    def carry_out(self, wish: SwitchCommand) -> CommandResult:
        """Move those who are meant. Raises ``UnknownTarget`` or ``TargetUnreachable``: nothing has changed."""
        return self._carry_out(wish, holds=wish.label is not None)

    def _carry_out(self, wish: SwitchCommand, *, holds: bool) -> CommandResult:
        labels = self._labels()
        label = labels[0] if wish.label is None else wish.label
        _refuse_unknown("cluster", [label], labels)
        index = labels.index(label)
        view = self._join()
        me = self._client.status().worker
        workers = {record.id: record for record in view.workers}
        known = sorted({*workers, me} if self._serves or not self._takes_part else workers)
        told = tuple(known) if wish.workers is None else wish.workers
        _refuse_unknown("worker", told, known)
        if not told:  # a shell, and nobody serves
            if self._takes_part and not view.is_known:
                raise TargetUnreachable(f"the records of fleet {self.name} cannot be read at the moment")
            return CommandResult(view.desired.generation if view.desired else 0, (), (), ())
        others = [workers[worker] for worker in told if worker != me]
        if wish.precondition is Precondition.ALL_CAN_REACH_IT:
            self._refuse_out_of_reach(self._when_connected(others, label), label, me in told)
        with self._own_pulse().staying():
            move = partial(self._client.control.switch, index, Reason.MANUAL, holds=holds)
            # Without standby, moving closes the connection over which others are told: that comes last then.
            first = partial(self._client.control.try_to_connect, index) if self._is_cold else move
            has_moved = me in told and self._succeeds(first, wish.precondition)
            desired = self._want(wish, label, holds, told)
            if has_moved and self._is_cold:
                has_moved = self._succeeds(move, Precondition.NONE)
            if has_moved:
                self._remember_done(desired)
        done: tuple[str, ...] = (me,) if has_moved else ()
        if others:
            done = self._followed(told, label, done)
        return CommandResult(desired.generation, told, done, tuple(w for w in told if w not in done))

    def _join(self) -> FleetView:
        """Be connected, if that is possible soon, and know who else is."""
        self._client.control.connect_soon()
        end = time.monotonic() + _JOINING
        while self._is_connecting() and time.monotonic() < end:
            time.sleep(_LOOK_PACE / 5)
        end = time.monotonic() + _LOOK
        while not (view := self._look()).is_known and self._takes_part and time.monotonic() < end:
            if self._client.status().state is not State.CONNECTED:
                break  # there is nobody to ask
            time.sleep(_LOOK_PACE)
        return view

    def _is_connecting(self) -> bool:
        status = self._client.status()
        if status.state in (State.IDLE, State.SWITCHING):
            return True
        hot = self._options.standby is Standby.HOT and status.state is State.CONNECTED
        return hot and any(cluster.state is Condition.CONNECTING for cluster in status.clusters)

    def _when_connected(self, others: Sequence[WorkerRecord], label: str) -> Sequence[WorkerRecord]:
        """The processes again, with a little time for those that have just begun to connect."""
        end = time.monotonic() + 1.0
        while _out_of_reach(others, label) and time.monotonic() < end:
            time.sleep(_LOOK_PACE)
            ids = {record.id for record in others}
            others = [record for record in self._look().workers if record.id in ids]
        return others

    def _refuse_out_of_reach(self, others: Sequence[WorkerRecord], label: str, with_me: bool) -> None:
        missing = _out_of_reach(others, label) or self._unable(others, label)
        if not missing:
            return  # whether this process can is seen when it goes there
        if with_me and not self._is_cold:
            reach = tuple(self._client.control.connected_clusters())
            missing += _out_of_reach([self._own_pulse().member.record(self._client.status(), reach)], label)
        missing.sort(key=lambda record: record.id)
        named = ", ".join(f"{record.id} (on {record.current_cluster or 'none'})" for record in missing)
        raise TargetUnreachable(f"{label} cannot be reached by {named}")

    def _unable(self, others: Sequence[WorkerRecord], label: str) -> list[WorkerRecord]:
        """Who could not reach a cluster when asked to try, or did not say so in time."""
        asked = [record for record in others if record.has_to_try]
        if not asked:
            return []
        question = ReachabilityQuestion(uuid.uuid4().hex, label, tuple(record.id for record in asked))
        pulse, answers = self._own_pulse(), dict[str, bool]()
        end = time.monotonic() + self._options.connect_timeout + _FOLLOWING
        try:
            pulse.ask(partial(pulse.boards.pose, question), _LOOK)
            while len(answers) < len(asked) and time.monotonic() < end:
                time.sleep(_LOOK_PACE)
                for record in self._look().workers:
                    for answer in record.answers:
                        if answer.question == question.id:
                            answers[record.id] = answer.can_reach
        except Exception as error:
            _logger.warning("fleet %s: nobody was asked: %s", pulse.member.fleet, error)
        return [record for record in asked if not answers.get(record.id)]

    def _succeeds(self, go: Callable[[], None], precondition: Precondition) -> bool:
        try:
            go()
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            if precondition is Precondition.ALL_CAN_REACH_IT:
                raise TargetUnreachable(f"{error} (process {self._client.status().worker})") from error
            return False
        return True

    def _want(self, wish: SwitchCommand, label: str, holds: bool, told: Sequence[str]) -> Desired:
        def make(view: FleetView) -> Desired:
            if wish.workers is None:
                return for_all(view.desired, label, wish.by, OrderSource.COMMAND, holds=holds)
            usual = view.majority
            return for_some(view.desired, told, label, wish.by, usual=usual, holds=holds)

        pulse = self._own_pulse()
        if not self._takes_part:
            return make(pulse.view)

        try:
            return pulse.ask(partial(pulse.want, make), 2 * _LOOK)
        except Exception as error:
            _logger.warning("fleet %s: nobody else was told: %s", pulse.member.fleet, error)
            return make(pulse.view)

    def _remember_done(self, desired: Desired) -> None:
        if not self._takes_part:
            return
        pulse = self._own_pulse()
        try:
            pulse.ask(partial(pulse.has_done, desired), _LOOK)
        except Exception as error:  # it may go there once more, should that cluster be lost now and come back
            _logger.debug("fleet %s: not remembered as done: %s", pulse.member.fleet, error)

    def _followed(self, told: Sequence[str], label: str, moved: tuple[str, ...]) -> tuple[str, ...]:
        """Who has arrived, with a little time for it."""
        end = time.monotonic() + _FOLLOWING
        while True:
            workers = self._look().workers
            there = {*moved, *(record.id for record in workers if record.current_cluster == label)}
            done = tuple(worker for worker in told if worker in there)
            if len(done) == len(told) or time.monotonic() > end:
                return done
            time.sleep(_LOOK_PACE)

    # What both need.

    @property
    def _is_cold(self) -> bool:
        return self._options.standby is Standby.COLD

    @property
    def _takes_part(self) -> bool:
        """A command of a server's app is none of the server's processes, unless the fleet has a name."""
        return self._is_named or self._serves

    def _view(self) -> FleetView:
        """What is known, looked up if nothing was yet."""
        if not self._takes_part:
            return _NOBODY_ELSE
        pulse = self._own_pulse()
        if pulse.view.is_known or self._client.status().state is not State.CONNECTED:
            return pulse.view
        return self._look()

    def _look(self) -> FleetView:
        if not self._takes_part or self._client.status().state in (State.IDLE, State.CLOSED):
            return _NOBODY_ELSE
        pulse = self._own_pulse()
        try:
            return pulse.ask(pulse.look, _LOOK)
        except Exception as error:
            _logger.debug("fleet %s: no look at it: %s", pulse.member.fleet, error)
            return pulse.view

    def _down(self) -> list[str]:
        connected = (
            self._client.control.connected_clusters()
        )  # its state shows that when it has said its word
        clusters = self._client.status().clusters
        return [one.label for one in clusters if one.state is Condition.DOWN and one.label not in connected]

    def _labels(self) -> list[str]:
        return [cluster.label for cluster in self._client.status().clusters]

    def _own_pulse(self) -> FleetWorker:
        with self._lock:
            if self._pulse is None:
                host, labels = socket.gethostname(), self._labels()
                has_past = self._is_named or is_server_worker()
                name, pid = self._name_of(), os.getpid()
                member = WorkerIdentity(name, self._is_named, has_past, host, pid, labels, self._is_cold)
                self._pulse = FleetWorker(self._client, member, lambda: self._serves)
            return self._pulse


def _out_of_reach(workers: Iterable[WorkerRecord], label: str) -> list[WorkerRecord]:
    return [record for record in workers if label not in record.reach]


def _refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    valid = list(known)
    for name in given:
        if name not in valid:
            raise UnknownTarget(f"unknown {what} {name!r}; there is {', '.join(map(repr, valid))}")


_living: weakref.WeakSet[Fleet] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for fleet in list(_living):
        fleet._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
