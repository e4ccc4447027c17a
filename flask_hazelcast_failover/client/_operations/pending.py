"""Operations whose callers hold a future: started like any other, continued on threads of the client."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from hazelcast.future import Future

from .._connect.link import CallInFlight, Link
from .._official import LightFuture, call_without_waiting, lighten, subscribe
from .._process.serial_executor import SerialExecutor
from .._process.thread_identity import impersonate
from .idempotency import Outcome
from .operation import LOSS_ERRORS, LostOperation, Operation
from .outstanding import OutstandingFutures
from .repeat_policy import RepeatPolicy


class PendingOperation:
    """An operation whose caller holds a future: completed after a loss on one thread, sent again from the other."""

    def __init__(
        self,
        policy: RepeatPolicy,
        operation: Operation,
        completion_executor: SerialExecutor,
        waiting_executor: SerialExecutor,
        outstanding: OutstandingFutures,
    ) -> None:
        self.future: Future[Any] = LightFuture()
        # Written on the completion thread before the waiting thread resumes the operation.
        self._lost: LostOperation | None = None
        self._policy = policy
        self._operation = operation
        self._completion_executor = completion_executor
        self._waiting_executor = waiting_executor
        self._outstanding = outstanding

    def send(self, link: Link) -> None:
        """Send the operation over ``link``; its result or its loss completes or continues it.

        Raises what the real method raises for its arguments.
        """
        call, operation = CallInFlight(link), self._operation
        try:
            if not self._policy.route.begin(call):
                call.end()
                self.resume_soon()
                return
            real = call.wait_for_proxy(operation.key)
            self._policy.check(operation, link, self._lost)
            started = operation.start(real, link)
            if isinstance(started, Future):
                call.expect(lighten(started), operation.timeout)
            else:
                call.end()
                call_without_waiting(self.future.set_result, started)
                return
            number = self._outstanding.add(self.future, started, partial(self._complete, call, started))
            # It may be done already, and this be a thread of the client.
            call_without_waiting(subscribe, started, partial(self._answered, call, number))
        except LOSS_ERRORS as error:
            call.end()
            self._settle_soon(link, Outcome.NOT_RUN, error)
        except BaseException:
            call.end()
            raise

    def resume_soon(self) -> None:
        """Find a link and send the operation there, on the thread that may wait for one."""
        self._waiting_executor.submit(self._resume)

    def _resume(self) -> None:
        try:
            link = self._policy.next_link(self._operation, self._lost)
            if link.real(self._operation.key) is None:
                self._obtain(link)
            else:
                with impersonate(self._operation.thread):
                    self.send(link)
        except Exception as error:
            self._fail(error)

    def _obtain(self, link: Link) -> None:
        """Have the real proxy made without waiting for it, then resume."""
        call = CallInFlight(link)
        try:
            if not self._policy.route.begin(call):
                call.end()
                self.resume_soon()
                return
            obtained = link.obtain(self._operation.key)
        except BaseException:
            call.end()
            raise
        call.expect(obtained)
        subscribe(obtained, partial(self._obtained, call))

    def _obtained(self, call: CallInFlight, obtained: Future[Any]) -> None:
        if not call.end():
            return
        error = None if obtained.is_success() else obtained.exception()
        if isinstance(error, LOSS_ERRORS):
            self._settle_soon(call.link, Outcome.NOT_RUN, error)
        elif error is not None:
            self._completion_executor.submit(partial(self._fail, error))
        else:
            self.resume_soon()

    def _answered(self, call: CallInFlight, number: int, answer: Future[Any]) -> None:
        # A future that the link has ended may be completed again by a late answer: only the first counts.
        if call.end():
            self._complete(call, answer)
            self._outstanding.remove(number)

    def _complete(self, call: CallInFlight, answer: Future[Any]) -> None:
        call.end()
        if answer.is_success():
            self._policy.record_result(self._operation, call.link, answer.result())
            self.future.set_result(answer.result())
            return
        error = answer.exception()
        if isinstance(error, LOSS_ERRORS):
            self._settle_soon(call.link, Outcome.UNKNOWN, error)
        else:
            self.future.set_exception(error, answer.traceback())  # type: ignore[arg-type]

    def _settle_soon(self, link: Link, outcome: Outcome, error: Exception) -> None:
        # Failing the future runs callbacks of the caller, which must not hold up the controller.
        self._completion_executor.submit(partial(self._settle, link, outcome, error, time.monotonic()))

    def _settle(self, link: Link, outcome: Outcome, error: Exception, lost_at: float) -> None:
        policy, operation = self._policy, self._operation
        try:
            self._lost = policy.classify_loss(operation, link, outcome, error, self._lost, lost_at)
            policy.refuse_if_unrepeatable(operation, self._lost)
        except Exception as final:
            self._fail(final)
        else:
            self.resume_soon()

    def _fail(self, error: Exception) -> None:
        # A callback that waits on a thread of the client would wait for itself.
        call_without_waiting(self.future.set_exception, error)
