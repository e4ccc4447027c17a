"""Running operations: on the active link, once more where that is right, and never without an end.

``Operations.run`` carries an operation out for a caller who waits, ``Operations.submit`` for one who
wants a future. Both decide alike where it goes next, in ``next_link``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hazelcast.errors import ClientOfflineError, OperationTimeoutError
from hazelcast.future import Future

from flask_hazelcast_failover.client._connect.link import (
    STARTING,
    Call,
    Link,
    LinkEnded,
    Overdue,
    ProxyKey,
    call_numbers,
)
from flask_hazelcast_failover.client._official import is_reactor_thread
from flask_hazelcast_failover.client._operations.affinity import ClusterAffinity
from flask_hazelcast_failover.client._operations.idempotency import (
    Idempotency,
    MethodTraits,
    Outcome,
    RepeatOn,
    may_repeat,
)
from flask_hazelcast_failover.client._operations.operation import (
    LOSS_ERRORS,
    MULTI_REQUEST_METHODS,
    LostOperation,
    Operation,
)
from flask_hazelcast_failover.client._operations.pending import PendingOperation
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor
from flask_hazelcast_failover.client.options import Options, Repeat
from flask_hazelcast_failover.errors import (
    ClientOfflineException,
    ClusterChanged,
    OperationOutcomeUnknown,
)

__all__ = ["Counters", "Operations"]

# Before an operation goes to the same link again, so that a dying cluster is not asked in a loop.
_PAUSE = 0.02


@dataclass
class Counters:
    """How often something happened since the client was made. Each is only ever raised, under _lock."""

    repeated: int = 0
    unknown: int = 0
    waiting: int = 0
    dropped_events: int = 0


class Operations:
    """Carries operations out.

    :param route: where operations go
    :param options: the client's options
    :param completion_executor: tells callers who do not wait how their operations ended
    :param waiting_executor: waits for a link on behalf of those callers
    """

    def __init__(
        self,
        route: Route,
        options: Options,
        completion_executor: SerialExecutor,
        waiting_executor: SerialExecutor,
    ) -> None:
        self.route = route
        self.limit = options.operation_timeout
        self.affinity = ClusterAffinity()
        self.sections = self.affinity.sections  # looked at before every operation, so one step away
        self.counters = Counters()
        self._options = options
        self._completion_executor = completion_executor
        self._waiting_executor = waiting_executor
        self._lock = threading.Lock()  # guards counters

    def operation(
        self,
        key: ProxyKey,
        name: str,
        method: MethodTraits,
        start: Callable[[Any, Link], Any],
        *,
        waits: float = 0.0,
        is_numbered: bool = False,
    ) -> Operation:
        """Describe a call by the calling thread; ``waits`` is the method's own timeout in seconds."""
        thread = threading.get_ident()
        section = self.sections.get(thread) if self.sections else None
        return Operation(
            key, name, method, start, self.limit + waits, thread, time.monotonic(), section, is_numbered
        )

    def run(self, operation: Operation, lost: LostOperation | None = None) -> Any:
        """Carry an operation out and wait for its result.

        :param lost: what happened to it already
        :raises ClientOfflineException: no cluster can be reached
        :raises OperationOutcomeUnknown: it may have run, and is not repeated
        :raises ClusterChanged: it belongs to a cluster that was left
        :raises OperationTimeoutError: the cluster lives and does not answer
        :raises RuntimeError: it would have to wait on a thread that must not
        """
        while True:
            link = self._next_link_of_caller(operation, lost)
            number = call_numbers()
            link.calls[number] = STARTING
            fate = Outcome.NOT_RUN
            try:
                if self.route.link is not link:
                    continue
                real = self.real(link, operation, number)
                self.check(operation, link, lost)
                result = operation.start(real, link)
                fate = Outcome.UNKNOWN
                if isinstance(result, Future):
                    link.calls[number] = Call(result, operation.limit)
                    result = result.result()
            except LOSS_ERRORS as error:
                lost = self.lost(operation, link, fate, error, lost)
            else:
                self.done(operation, link, result)
                return result
            finally:
                del link.calls[number]

    @contextmanager
    def section(self) -> Iterator[None]:
        """A block in which the calling thread's operations run in one epoch only."""
        sections, thread = self.sections, threading.get_ident()
        outer = sections.get(thread)
        link = self.route.active(time.monotonic() + self._options.wait_timeout)
        sections[thread] = outer if outer is not None else link.visit_id
        try:
            yield
        finally:
            if outer is None:
                del sections[thread]

    def submit(self, operation: Operation) -> Future[Any]:
        """Start an operation; the future ends as ``run`` would."""
        pending = PendingOperation(self, operation)
        link = self.route.link
        if link is None or (link.real(operation.key) is None and is_reactor_thread()):
            self.wait_later(pending.resume)
        else:
            pending.send(link)
        return pending.future

    def submit_later(self, operation: Operation) -> Future[Any]:
        """Start an operation from a thread that may not wait at all."""
        pending = PendingOperation(self, operation)
        self.wait_later(pending.resume)
        return pending.future

    def later(self, task: Callable[[], object]) -> None:
        """Do something that calls the caller back, on a thread where that holds up nobody else."""
        self._completion_executor.submit(task)

    def wait_later(self, task: Callable[[], object]) -> None:
        """Do something that may wait for a link, on a thread where that holds up no operation that has ended."""
        self._waiting_executor.submit(task)

    def lost(
        self,
        operation: Operation,
        link: Link,
        fate: Outcome,
        error: Exception,
        before: LostOperation | None,
        at: float | None = None,
    ) -> LostOperation:
        """Say what is known of an operation that failed with one of ``LOSS_ERRORS``.

        :param at: when it failed, monotonic seconds; now if ``None``
        """
        if isinstance(error, (Overdue, OperationTimeoutError)):
            raise self._timed_out(operation, link, error) from None
        is_whole = (operation.key.structure, operation.name) not in MULTI_REQUEST_METHODS
        if type(error) is ClientOfflineError and is_whole:
            fate = Outcome.NOT_RUN  # the official client refused to send it
        at = time.monotonic() if at is None else at
        since = before.since if before else at
        doubts = before.doubts if before else frozenset()
        return LostOperation(
            link, error, at, since, doubts if fate is Outcome.NOT_RUN else doubts | {link.data_id}
        )

    def real(self, link: Link, operation: Operation, number: int) -> Any:
        """The real proxy for an operation that was counted in as ``number``; waits until it is made."""
        real = link.real(operation.key)
        if real is None:
            made = link.obtain(operation.key)
            link.calls[number] = made
            real = made.result()
            link.calls[number] = STARTING
        return real

    def check(self, operation: Operation, link: Link, lost: LostOperation | None) -> None:
        """Refuse what may not run on ``link``, right before it is started there."""
        if operation.section is not None:
            self._check_section(operation, link, lost)
        if operation.method.bond is not None and operation.holder is not None:
            self.affinity.before(operation.method.bond, operation.holder, link)
        if lost is not None:
            with self._lock:
                self.counters.repeated += 1

    def done(self, operation: Operation, link: Link, result: object) -> None:
        """Remember what an operation that has succeeded has tied to ``link``."""
        if operation.method.bond is not None and operation.holder is not None:
            self.affinity.after(operation.method.bond, operation.holder, link, result)

    def next_link(self, operation: Operation, lost: LostOperation | None) -> Link:
        """Where the operation goes (again), or the error that says why it does not. May wait."""
        if lost is None:
            return self._await(operation.began + self._options.wait_timeout, None)
        self.refuse_what_may_not_be_repeated(operation, lost)
        try:
            link = self._beyond(lost, lost.since + self._options.wait_timeout)
        except ClientOfflineException:
            if self._may_repeat(operation, lost.fate, RepeatOn.SAME):
                raise
            raise self._unknown(operation, lost) from None
        where = RepeatOn.SAME if link.data_id in lost.doubts else RepeatOn.ELSEWHERE
        is_resent = self._may_be_resent(operation) and link is not lost.link and link.continues(lost.link)
        if not (is_resent or self._may_repeat(operation, lost.fate, where)):
            raise self._unknown(operation, lost)
        return link

    def refuse_what_may_not_be_repeated(self, operation: Operation, lost: LostOperation) -> None:
        """Raise at once what no cluster can change.

        :raises OperationOutcomeUnknown: it may have run, and is not repeated anywhere
        """
        if self._may_be_resent(operation) and not self._is_live(lost):
            return  # it depends on whether the client comes back to where it was
        if lost.fate is Outcome.UNKNOWN and not self._may_repeat(operation, lost.fate, RepeatOn.ELSEWHERE):
            raise self._unknown(operation, lost)

    def count_dropped_event(self) -> None:
        """A listener does not keep up, and misses an event."""
        with self._lock:
            self.counters.dropped_events += 1

    def reset_after_fork(self) -> None:
        """Go on in a forked child, where nothing is under way and nothing is held."""
        self.affinity = ClusterAffinity()
        self.sections = self.affinity.sections
        self.counters = Counters()
        self._lock = threading.Lock()

    def _next_link_of_caller(self, operation: Operation, lost: LostOperation | None) -> Link:
        link = self.route.link
        if lost is None and link is not None:
            return link
        if is_reactor_thread():
            raise RuntimeError(
                f"{operation.title}: there is no connection to a cluster right now, and a callback must not"
                " wait for one; use the proxy that is not blocking, with add_done_callback()"
            )
        return self.next_link(operation, lost)

    def _beyond(self, lost: LostOperation, deadline: float) -> Link:
        """The link after a loss: another one, or the same if only one of its members was lost."""
        if self._is_live(lost):
            if time.monotonic() > deadline:
                raise ClientOfflineException(
                    f"{lost.link.label} does not take the operation within wait_timeout"
                    f" ({type(lost.error).__name__})"
                )
            time.sleep(max(0.0, lost.at + _PAUSE - time.monotonic()))
            return self._await(deadline, None)
        return self._await(deadline, lost.link)

    def _await(self, deadline: float, beyond: Link | None) -> Link:
        link = self.route.link
        if link is not None and link is not beyond:
            return link
        with self._lock:
            self.counters.waiting += 1
        try:
            return self.route.active(deadline, beyond)
        finally:
            with self._lock:
                self.counters.waiting -= 1

    def _is_live(self, lost: LostOperation) -> bool:
        """Whether only a member was lost, and the link goes on."""
        return lost.link.is_connected() and not isinstance(lost.error, LinkEnded)

    def _may_be_resent(self, operation: Operation) -> bool:
        """Whether members take it for the same request when the same client, connected again, sends it again."""
        return operation.is_numbered and self._options.repeat is Repeat.REPEATABLE

    def _may_repeat(self, operation: Operation, fate: Outcome, where: RepeatOn) -> bool:
        return may_repeat(operation.method.kind, self._options.repeat, fate, where)

    def _check_section(self, operation: Operation, link: Link, lost: LostOperation | None) -> None:
        try:
            self.affinity.check_section(link, operation.section)
        except ClusterChanged:
            kind = operation.method.kind
            if (
                lost is None
                or lost.fate is Outcome.NOT_RUN
                or kind in (Idempotency.READ, Idempotency.REPEATABLE)
            ):
                raise
            raise self._unknown(operation, lost) from None

    def _timed_out(
        self, operation: Operation, link: Link, error: Exception
    ) -> OperationTimeoutError | OperationOutcomeUnknown:
        told = f"{operation.title}: {link.label} did not answer ({error.args[0]})"
        if operation.method.kind is Idempotency.ONCE:
            with self._lock:
                self.counters.unknown += 1
            return OperationOutcomeUnknown(f"{told}; it may or may not have run there")
        return OperationTimeoutError(told)

    def _unknown(self, operation: Operation, lost: LostOperation) -> OperationOutcomeUnknown:
        with self._lock:
            self.counters.unknown += 1
        return OperationOutcomeUnknown(
            f"{operation.title}: the connection to {lost.link.label} was lost while it was under way; it"
            f" may or may not have run there, and was not repeated (repeat={str(self._options.repeat)!r},"
            f" class {operation.method.kind.name})"
        )
