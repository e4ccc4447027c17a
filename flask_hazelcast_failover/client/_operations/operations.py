"""Runs operations to their end: on the active link, and again after a loss where that is right.

What happens to a call such as ``map.get("key")``, in ``Operations.run``:

1. Take the active link, or wait for one.
2. Count the call in on that link, then check that it still is the active one.
3. Check that the call may run there, start it on the real proxy, and wait for its answer.
4. Return the result. After a loss, note whether it may have run, and go on with 1, where ``RepeatPolicy.next_link``
   raises if it must not be repeated.

``Operations.submit`` does the same for a caller who wants a future (``PendingOperation``). Blocking methods without
affinity or timeout take a shortcut while the link stays the same (``_quick_method`` in ``_api.proxies``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hazelcast.future import Future

from .._connect.link import CallInFlight, Link, ProxyKey
from .._official import is_reactor_thread, lighten, subscribe
from .._process.serial_executor import SerialExecutor
from ..options import Options
from .affinity import Holder
from .idempotency import MethodTraits, Outcome
from .operation import LOSS_ERRORS, LostOperation, Operation
from .outstanding import OutstandingFutures
from .pending import PendingOperation
from .repeat_policy import RepeatPolicy
from .route import Route


class Operations:
    """Runs operations.

    :param completion_executor: completes the futures of lost operations, and so runs their callbacks
    :param waiting_executor: waits for a link on behalf of callers who hold a future
    """

    def __init__(
        self,
        route: Route,
        options: Options,
        completion_executor: SerialExecutor,
        waiting_executor: SerialExecutor,
    ) -> None:
        self.route = route
        self.timeout = options.operation_timeout
        self.policy = RepeatPolicy(route, options)
        self.sections: dict[int, int] = {}  # thread -> visit id of the link; each thread writes its own entry
        self.outstanding = OutstandingFutures()
        self._wait_timeout = options.wait_timeout
        self._completion_executor = completion_executor
        self._waiting_executor = waiting_executor

    def run(self, operation: Operation, lost: LostOperation | None = None) -> Any:
        """Run an operation and wait for its result.

        :param lost: what is known of it if it was lost already
        :raises ClientOfflineException: no cluster can be reached
        :raises OperationOutcomeUnknown: it may have run, and is not repeated
        :raises ClusterChanged: it belongs to a cluster that was left
        :raises OperationTimeoutError: the cluster lives and does not answer
        :raises RuntimeError: it would have to wait on a thread that must not
        """
        while True:
            link = self._next_link(operation, lost)
            call, outcome, answer = CallInFlight(link), Outcome.NOT_RUN, None
            try:
                if not self.route.begin(call):
                    continue
                real = call.wait_for_proxy(operation.key)
                self.policy.check(operation, link, lost)
                result = operation.start(real, link)
                outcome = Outcome.UNKNOWN
                if isinstance(result, Future):
                    answer = lighten(result)
                    call.expect(answer, operation.timeout)
                    result = answer.result()
            except LOSS_ERRORS as error:
                lost = self.policy.classify_loss(operation, link, outcome, error, lost)
            except BaseException:
                self._record_later(operation, link, answer)
                raise
            else:
                self.policy.record_result(operation, link, result)
                return result
            finally:
                call.end()

    def call(self, key: ProxyKey, name: str, traits: MethodTraits, start: Callable[[Any, Link], Any]) -> Any:
        """Run a call by the calling thread that has no timeout of its own."""
        return self.run(self.operation(key, name, traits, start))

    def submit(self, operation: Operation) -> Future[Any]:
        """Start an operation; the future ends as ``run`` would."""
        link = self.route.link
        if link is None or (link.real(operation.key) is None and is_reactor_thread()):
            return self.submit_later(operation)
        pending = self._pending(operation)
        pending.send(link)
        return pending.future

    def submit_later(self, operation: Operation) -> Future[Any]:
        """Start an operation from a thread that may not wait at all."""
        pending = self._pending(operation)
        pending.resume_soon()
        return pending.future

    def operation(
        self,
        key: ProxyKey,
        name: str,
        traits: MethodTraits,
        start: Callable[[Any, Link], Any],
        *,
        own_timeout: float = 0.0,
        has_request_id: bool = False,
        holder: Holder | None = None,
    ) -> Operation:
        """Describe a call by the calling thread.

        :param own_timeout: how long the method itself may block on the member, seconds
        """
        thread = threading.get_ident()
        section = self.sections.get(thread) if self.sections else None
        timeout, now = self.timeout + own_timeout, time.monotonic()
        return Operation(key, name, traits, start, timeout, thread, now, section, has_request_id, holder)

    @contextmanager
    def section(self) -> Iterator[None]:
        """A block in which the calling thread's operations run in one epoch only."""
        sections, thread = self.sections, threading.get_ident()
        outer = sections.get(thread)
        link = self.route.active(time.monotonic() + self._wait_timeout)
        try:
            sections[thread] = outer if outer is not None else link.visit_id
            yield
        finally:
            if outer is None:
                sections.pop(thread, None)

    def tend(self) -> None:
        """Go on with what was interrupted. For the health monitor, now and then."""
        self.outstanding.complete_interrupted()

    def complete_soon(self, task: Callable[[], object]) -> None:
        """Complete a future on the thread for that: its callbacks hold up no other thread of the client."""
        self._completion_executor.submit(task)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child."""
        self.policy.reset_after_fork()
        self.sections = {}
        self.outstanding = OutstandingFutures()

    def _next_link(self, operation: Operation, lost: LostOperation | None) -> Link:
        link = self.route.link
        if lost is None and link is not None:
            return link
        if is_reactor_thread():
            raise RuntimeError(
                f"{operation.title}: there is no connection to a cluster right now, and a callback must not"
                " wait for one; use the proxy that is not blocking, with add_done_callback()"
            )
        return self.policy.next_link(operation, lost)

    def _record_later(self, operation: Operation, link: Link, answer: Future[Any] | None) -> None:
        """Record what an operation ties to ``link`` although its caller was interrupted and does not see the answer."""
        if answer is None or operation.holder is None:
            return

        def record(answered: Future[Any]) -> None:
            if answered.is_success():
                self.policy.record_result(operation, link, answered.result())

        subscribe(answer, record)

    def _pending(self, operation: Operation) -> PendingOperation:
        return PendingOperation(
            self.policy, operation, self._completion_executor, self._waiting_executor, self.outstanding
        )
