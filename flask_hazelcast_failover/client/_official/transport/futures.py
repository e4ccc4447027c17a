"""A future that needs little memory and no lock, and a wait for official futures with a deadline."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

from hazelcast.future import _SENTINEL, Future

from ...._threads import Latch, resting

# How often a wait looks by itself whether the future is done, seconds: an exception may have kept it from being notified.
_LOOK_INTERVAL = 1.0


def wait_for_all(futures: Collection[Future[Any]], deadline: float, grace: float = math.inf) -> None:
    """Wait until all futures are done; the official client can only wait for each of them without a limit.

    :param deadline: when to stop waiting, monotonic seconds
    :param grace: how long to wait at most after the latest one was done, seconds
    """
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    for _ in futures:
        try:
            with resting():
                done.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return
        deadline = min(deadline, time.monotonic() + grace)


class LightFuture(Future[Any]):
    """An official future without a condition: each of its steps is atomic, and whoever completes it waits for nobody.

    The lock of an official future may be left taken, by an exception that arrives while a user's thread takes it (see
    ``_threads.waiting``). Whoever completes that future, be it the reactor or the controller, hangs.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[Any]], object]] = []

    def set_result(self, result: Any) -> None:
        self._result = result
        self._run_callbacks()

    def set_exception(self, exception: Exception, traceback: TracebackType | None = None) -> None:
        self._traceback = traceback
        self._exception = exception
        self._run_callbacks()

    def result(self) -> Any:
        self._wait()
        if self._exception is not None:
            raise self._exception.with_traceback(self._traceback)
        return self._result

    def is_success(self) -> bool:
        # A link that ends may fail it at the moment in which the answer comes: then it has failed.
        return self._exception is None and self._result is not _SENTINEL

    def done(self) -> bool:
        return self._result is not _SENTINEL or self._exception is not None

    def exception(self) -> Any:
        self._wait()
        return self._exception

    def traceback(self) -> TracebackType | None:
        self._wait()
        return self._traceback

    def add_done_callback(self, callback: Callable[[Future[Any]], Any]) -> None:
        self._callbacks.append(callback)
        if self.done():
            self._run_callbacks()

    def continue_with(self, continuation_func: Callable[..., Any], *args: Any) -> Future[Any]:
        continuation = LightFuture()

        def complete(done: Future[Any]) -> None:
            try:
                result = continuation_func(done, *args)
            except BaseException as error:
                continuation.set_exception(error, error.__traceback__)  # type: ignore[arg-type]
                return
            if isinstance(result, Future):
                continuation._chain(result)  # type: ignore[no-untyped-call]
            else:
                continuation.set_result(result)

        self.subscribe(complete)
        return continuation

    def subscribe(self, callback: Callable[[Future[Any]], Any]) -> None:
        """Add a callback whose exceptions reach the calling thread if the future is done already.

        For callbacks that complete another future: one that was interrupted would leave it without an end, and
        ``add_done_callback`` would only log that. So the caller gets the exception, and never that future.
        """
        self._callbacks.append(callback)
        if self.done():
            try:
                self._callbacks.remove(callback)
            except ValueError:
                return  # the thread that has completed this future runs it
            callback(self)

    def _invoke_callbacks(
        self,
    ) -> None:  # an official future may be turned into this one while it is completed
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        """Run each callback once, also when one is added on another thread at this moment."""
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            self._invoke_cb(callback)  # type: ignore[no-untyped-call]

    def _wait(self) -> None:
        if self.done():
            return
        self._reactor_check()  # type: ignore[no-untyped-call]
        done = Latch()
        self._callbacks.insert(0, done.set)  # before callbacks that may take long
        while not self.done():
            done.wait(_LOOK_INTERVAL)


def lighten(future: Future[Any]) -> Future[Any]:
    """Make an official future a ``LightFuture``, in place; others stay as they are."""
    if type(future) is Future:
        future.__class__ = LightFuture
    return future


def subscribe(future: Future[Any], callback: Callable[[Future[Any]], Any]) -> None:
    """Add a callback that completes another future; see ``LightFuture.subscribe``."""
    lighten(future)
    if isinstance(future, LightFuture):
        future.subscribe(callback)
    else:
        callback(future)  # the other classes are done from the beginning
