"""Operations whose callers hold a future: started like any other, followed up on a thread of our own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hazelcast.future import Future

from flask_hazelcast_failover.client._connect.link import STARTING, Call, Link, call_numbers
from flask_hazelcast_failover.client._official import without_waiting
from flask_hazelcast_failover.client._operations.idempotency import Outcome
from flask_hazelcast_failover.client._operations.operation import LOSS_ERRORS, LostOperation, Operation
from flask_hazelcast_failover.client._process.thread_identity import impersonate

if TYPE_CHECKING:
    from flask_hazelcast_failover.client._operations.operations import Operations

__all__ = ["PendingOperation"]


class PendingOperation:
    """An operation whose caller holds a future."""

    def __init__(self, operations: Operations, operation: Operation) -> None:
        self.future: Future[Any] = Future()
        self._lost: LostOperation | None = (
            None  # written by the runner's thread, before the waiter is given this
        )
        self._operations = operations
        self._operation = operation

    def resume(self) -> None:
        """Find a link and send the operation there. May wait for it: for the waiter's thread."""
        try:
            link = self._operations.next_link(self._operation, self._lost)
            if link.real(self._operation.key) is None:
                self._obtain(link)
            else:
                with impersonate(self._operation.thread):
                    self.send(link)
        except Exception as error:
            self._fail(error)

    def send(self, link: Link) -> None:
        """Send the operation over ``link`` and pass on what comes of it.

        Raises what the real method raises for its arguments.
        """
        operations, operation = self._operations, self._operation
        number = self._counted_in(link)
        if number is None:
            return
        fate = Outcome.NOT_RUN
        try:
            real = operations.real(link, operation, number)
            operations.check(operation, link, self._lost)
            started = operation.start(real, link)
            fate = Outcome.UNKNOWN
        except LOSS_ERRORS as error:
            del link.calls[number]
            self._settle_later(link, fate, error)
            return
        except BaseException:
            del link.calls[number]
            raise
        if not isinstance(started, Future):
            del link.calls[number]
            self._succeed(started)
            return
        link.calls[number] = Call(started, operation.limit)
        with without_waiting():  # it may be done already, and this be the runner's thread
            started.add_done_callback(lambda done: self._done(link, number, done))

    def _counted_in(self, link: Link) -> int | None:
        number = call_numbers()
        link.calls[number] = STARTING
        if self._operations.route.link is link:
            return number
        del link.calls[number]
        self._operations.wait_later(self.resume)
        return None

    def _obtain(self, link: Link) -> None:
        """Have the real proxy made without waiting for it, then go on."""
        number = self._counted_in(link)
        if number is None:
            return

        def made(future: Future[Any]) -> None:
            if link.calls.pop(number, None) is None:
                return
            error = None if future.is_success() else future.exception()
            if isinstance(error, LOSS_ERRORS):
                self._settle_later(link, Outcome.NOT_RUN, error)
            elif error is not None:
                self._operations.later(lambda: self._fail(error))
            else:
                self._operations.wait_later(self.resume)

        try:
            obtained = link.obtain(self._operation.key)
        except BaseException:
            del link.calls[number]
            raise
        link.calls[number] = obtained
        obtained.add_done_callback(made)

    def _done(self, link: Link, number: int, started: Future[Any]) -> None:
        # An answer may come after its future was ended: only the first counts.
        if link.calls.pop(number, None) is None:
            return
        if started.is_success():
            self._operations.done(self._operation, link, started.result())
            self.future.set_result(started.result())
            return
        error = started.exception()
        assert error is not None
        if isinstance(error, LOSS_ERRORS):
            self._settle_later(link, Outcome.UNKNOWN, error)
        else:
            self.future.set_exception(error, started.traceback())  # type: ignore[arg-type]

    def _settle_later(self, link: Link, fate: Outcome, error: Exception) -> None:
        # Deciding may wait for a switch, and callbacks of the caller's must not hold up the controller.
        at = time.monotonic()
        self._operations.later(lambda: self._settle(link, fate, error, at))

    def _settle(self, link: Link, fate: Outcome, error: Exception, at: float) -> None:
        operations, operation = self._operations, self._operation
        try:
            self._lost = operations.lost(operation, link, fate, error, self._lost, at)
            operations.refuse_what_may_not_be_repeated(operation, self._lost)
        except Exception as final:
            self._fail(final)
        else:
            operations.wait_later(self.resume)

    def _succeed(self, result: object) -> None:
        with without_waiting():
            self.future.set_result(result)

    def _fail(self, error: Exception) -> None:
        # A callback that waited on the runner's thread would wait for itself.
        with without_waiting():
            self.future.set_exception(error)
