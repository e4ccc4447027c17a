"""Running operations: on the active link, once more where that is right, and never without an end.

``Operation`` describes one call of one method. ``Operations.run`` carries it out for a caller who
waits, ``Operations.submit`` for one who wants a future. Both decide alike, in ``_next_link``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    OperationTimeoutError,
    TargetDisconnectedError,
)
from hazelcast.future import Future

from flask_hazelcast_failover.client.bonds import Bonds, Holder, holder_of
from flask_hazelcast_failover.client.link import (
    STARTING,
    Call,
    Link,
    LinkEnded,
    Overdue,
    ProxyKey,
    call_numbers,
)
from flask_hazelcast_failover.client.methods import (
    Fate,
    Kind,
    Method,
    Next,
    repeats,
)
from flask_hazelcast_failover.client.official import is_reactor_thread
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.route import Route
from flask_hazelcast_failover.client.runner import Runner
from flask_hazelcast_failover.errors import (
    ClientOfflineException,
    ClusterChanged,
    OperationOutcomeUnknown,
)

__all__ = ["LOSSES", "Counters", "Operation", "Operations"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# What a real proxy raises when its link, or the member that was asked, is gone or too slow.
LOSSES = (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    LinkEnded,
    OperationTimeoutError,
    Overdue,
    TargetDisconnectedError,
)

# Before an operation goes to the same link again, so that a dying cluster is not asked in a loop.
_PAUSE = 0.02


class Operation(NamedTuple):
    """One call of one method."""

    key: ProxyKey
    name: str
    method: Method
    start: Callable[[Any, Link], Any]  # gets the real proxy and the link that it belongs to
    limit: float  # seconds to wait for a live cluster's answer
    section: int | None = None
    holder: Holder | None = None

    @property
    def title(self) -> str:
        """What it is called in errors."""
        return f"{self.key.structure}.{self.name} on {self.key.name!r}"


class Loss(NamedTuple):
    """An operation that was lost: where last, since when, and on which data it may have run."""

    link: Link
    error: Exception
    since: float  # monotonic seconds of the first loss, which bounds all repeating
    doubts: frozenset[int] = frozenset()

    @property
    def fate(self) -> Fate:
        """What is known of the operation."""
        return Fate.UNKNOWN if self.doubts else Fate.NOT_RUN


@dataclass
class Counters:
    """How often something happened since the client was made. Each is only ever raised, under _lock."""

    repeated: int = 0
    unknown: int = 0
    waiting: int = 0


class Operations:
    """Carries operations out.

    :param route: where operations go
    :param options: the client's options
    :param runner: carries on with operations whose callers do not wait
    """

    def __init__(self, route: Route, options: Options, runner: Runner) -> None:
        self.route = route
        self.limit = options.operation_timeout
        self.bonds = Bonds()
        self.sections = self.bonds.sections  # looked at before every operation, so one step away
        self.counters = Counters()
        self._options = options
        self._runner = runner
        self._lock = threading.Lock()  # guards counters

    def renew(self) -> None:
        """Go on in a forked child."""
        self._lock = threading.Lock()
        self.bonds = Bonds()
        self.sections = self.bonds.sections

    def operation(
        self,
        key: ProxyKey,
        name: str,
        method: Method,
        start: Callable[[Any, Link], Any],
        *,
        waits: float = 0.0,
    ) -> Operation:
        """Describe a call by the calling thread; ``waits`` is the method's own timeout in seconds."""
        section = self.sections.get(threading.get_ident()) if self.sections else None
        return Operation(key, name, method, start, self.limit + waits, section)

    def run(self, operation: Operation, lost: Loss | None = None) -> Any:
        """Carry an operation out and wait for its result.

        :param lost: what happened to it already
        :raises ClientOfflineException: no cluster can be reached
        :raises OperationOutcomeUnknown: it may have run, and is not repeated
        :raises ClusterChanged: it belongs to a cluster that was left
        :raises OperationTimeoutError: the cluster lives and does not answer
        """
        while True:
            link = self._next_link(operation, lost)
            number = call_numbers()
            link.calls[number] = STARTING
            fate = Fate.NOT_RUN
            try:
                if self.route.link is not link:
                    continue
                self._check_bonds(operation, link)
                real = self._real(link, operation, number)
                result = operation.start(real, link)
                fate = Fate.UNKNOWN
                if isinstance(result, Future):
                    link.calls[number] = Call(result, time.monotonic(), operation.limit)
                    result = result.result()
            except LOSSES as error:
                lost = self.lost(operation, link, fate, error, lost)
            else:
                self._keep_bonds(operation, link, result)
                return result
            finally:
                del link.calls[number]

    def submit(self, operation: Operation) -> Future[Any]:
        """Start an operation; the future ends as ``run`` would."""
        pending = _Pending(self, operation)
        link = self.route.link
        if link is not None and (link.real(operation.key) is not None or not is_reactor_thread()):
            pending.send(link)
        else:
            self._runner.submit(pending.resume)
        return pending.future

    def lost(
        self, operation: Operation, link: Link, fate: Fate, error: Exception, before: Loss | None
    ) -> Loss:
        """Say what is known of an operation that failed with one of ``LOSSES``."""
        if isinstance(error, (Overdue, OperationTimeoutError)):
            raise self._timed_out(operation, link, fate, error) from None
        if type(error) is ClientOfflineError and not operation.method.resent:
            fate = Fate.NOT_RUN  # the official client refused to send it
        since = before.since if before else time.monotonic()
        doubts = before.doubts if before else frozenset()
        return Loss(link, error, since, doubts if fate is Fate.NOT_RUN else doubts | {link.data})

    def send(self, operation: Operation, link: Link, number: int) -> Any:
        """Start an operation that was counted in on ``link``; gives its future or its result."""
        self._check_bonds(operation, link)
        return operation.start(self._real(link, operation, number), link)

    def _next_link(self, operation: Operation, lost: Loss | None) -> Link:
        """Where the operation goes (again), or the error that says why it does not."""
        deadline = (lost.since if lost else time.monotonic()) + self._options.wait_timeout
        if lost is None:
            link = self._await(deadline, None)
        elif lost.fate is Fate.UNKNOWN and not self._may_repeat(operation, lost.fate, Next.ELSEWHERE):
            raise self._unknown(operation, lost)
        else:
            link = self._after_loss(operation, lost, deadline)
        self._check_section(operation, link, lost)
        if lost is not None:
            with self._lock:
                self.counters.repeated += 1
        return link

    def _after_loss(self, operation: Operation, lost: Loss, deadline: float) -> Link:
        beyond = lost.link
        if lost.link.is_connected() and not isinstance(lost.error, LinkEnded):
            time.sleep(_PAUSE)  # one member of a live cluster was lost
            beyond = None
        try:
            link = self._await(deadline, beyond)
        except ClientOfflineException:
            if self._may_repeat(operation, lost.fate, Next.SAME):
                raise
            raise self._unknown(operation, lost) from None
        where = Next.SAME if link.data in lost.doubts else Next.ELSEWHERE
        if not self._may_repeat(operation, lost.fate, where):
            raise self._unknown(operation, lost)
        return link

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

    def _may_repeat(self, operation: Operation, fate: Fate, where: Next) -> bool:
        return repeats(operation.method.kind, self._options.repeat, fate, where)

    def _check_section(self, operation: Operation, link: Link, lost: Loss | None) -> None:
        try:
            self.bonds.check_section(link, operation.section)
        except ClusterChanged:
            kind = operation.method.kind
            if lost is None or lost.fate is Fate.NOT_RUN or kind in (Kind.READ, Kind.REPEATABLE):
                raise
            raise self._unknown(operation, lost) from None

    def _check_bonds(self, operation: Operation, link: Link) -> None:
        if operation.method.bond is not None and operation.holder is not None:
            self.bonds.before(operation.method.bond, operation.key, operation.holder, link)

    def _keep_bonds(self, operation: Operation, link: Link, result: object) -> None:
        if operation.method.bond is not None and operation.holder is not None:
            self.bonds.after(operation.method.bond, operation.key, operation.holder, link, result)

    def _real(self, link: Link, operation: Operation, number: int) -> Any:
        real = link.real(operation.key)
        if real is None:
            made = link.obtain(operation.key)
            link.calls[number] = Call(made, time.monotonic(), self.limit)
            real = made.result()
        return real

    def _timed_out(
        self, operation: Operation, link: Link, fate: Fate, error: Exception
    ) -> OperationTimeoutError | OperationOutcomeUnknown:
        told = f"{operation.title}: {link.label} did not answer ({error.args[0]})"
        if operation.method.kind is Kind.ONCE and fate is Fate.UNKNOWN:
            with self._lock:
                self.counters.unknown += 1
            return OperationOutcomeUnknown(f"{told}; it may or may not have run there")
        return OperationTimeoutError(told)

    def _unknown(self, operation: Operation, lost: Loss) -> OperationOutcomeUnknown:
        with self._lock:
            self.counters.unknown += 1
        return OperationOutcomeUnknown(
            f"{operation.title}: the connection to {lost.link.label} was lost while it was under way; it"
            f" may or may not have run there, and was not repeated (repeat={self._options.repeat!r},"
            f" class {operation.method.kind.name})"
        )


class _Pending:
    """An operation whose caller holds a future."""

    def __init__(self, operations: Operations, operation: Operation) -> None:
        self.future: Future[Any] = Future()
        self._lost: Loss | None = None  # written by the runner's thread
        self._operations = operations
        self._operation = operation

    def resume(self) -> None:
        """Find a link and send the operation there. Blocks: for the runner's thread."""
        try:
            self.send(self._operations._next_link(self._operation, self._lost))
        except Exception as error:
            self.future.set_exception(error)

    def send(self, link: Link) -> None:
        """Send the operation over ``link`` and pass on what comes of it.

        Raises what the real method raises for its arguments.
        """
        number = call_numbers()
        link.calls[number] = STARTING
        if self._operations.route.link is not link:
            del link.calls[number]
            self._operations._runner.submit(self.resume)
            return
        try:
            started = self._operations.send(self._operation, link, number)
        except LOSSES as error:
            del link.calls[number]
            self._failed(link, Fate.NOT_RUN, error)
            return
        except BaseException:
            del link.calls[number]
            raise
        if not isinstance(started, Future):
            del link.calls[number]
            self.future.set_result(started)
            return
        link.calls[number] = Call(started, time.monotonic(), self._operation.limit)
        started.add_done_callback(lambda done: self._done(link, number, done))

    def _done(self, link: Link, number: int, started: Future[Any]) -> None:
        # An answer may come after its future was ended: only the first counts.
        if link.calls.pop(number, None) is None:
            return
        if started.is_success():
            self._operations._keep_bonds(self._operation, link, started.result())
            self.future.set_result(started.result())
            return
        error = started.exception()
        assert error is not None
        if isinstance(error, LOSSES):
            self._failed(link, Fate.UNKNOWN, error)
        else:
            self.future.set_exception(error, started.traceback())

    def _failed(self, link: Link, fate: Fate, error: Exception) -> None:
        # Deciding may wait for a switch, and callbacks of the caller's must not hold up the keeper.
        self._operations._runner.submit(lambda: self._settle(link, fate, error))

    def _settle(self, link: Link, fate: Fate, error: Exception) -> None:
        try:
            self._lost = self._operations.lost(self._operation, link, fate, error, self._lost)
        except Exception as final:
            self.future.set_exception(final)
        else:
            self.resume()


def waits(method: Method, args: tuple[Any, ...], kwargs: dict[str, Any], position: int) -> float:
    """How long a call may block on the member, in seconds, beyond the time for an answer.

    :param position: where the argument that says it stands among the positional ones
    """
    if not isinstance(method.waits, str):
        return method.waits
    given = args[position] if len(args) > position else kwargs.get(method.waits, 0)
    if not isinstance(given, (int, float)) or math.isnan(given):
        return 0.0
    return max(0.0, float(given))


def bound(operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
    """The operation with who would hold the lock, or use the sequence, that it is about."""
    return operation._replace(holder=holder_of(operation.key, args, kwargs))
