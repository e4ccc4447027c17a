"""A future that needs little memory, and a wait for official futures with a deadline."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

from hazelcast.future import Future


def wait_for_all(futures: Collection[Future[Any]], deadline: float, grace: float = math.inf) -> None:
    """Wait until all futures are done; the official client can only wait for each of them without a limit.

    :param deadline: when to stop waiting, monotonic seconds
    :param grace: how long to wait at most after the latest one was done, seconds
    """
    done = threading.Semaphore(0)
    for future in futures:
        future.add_done_callback(lambda _: done.release())
    for _ in futures:
        if not done.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return
        deadline = min(deadline, time.monotonic() + grace)


class LightFuture(Future[Any]):
    """An official future without a condition of its own: an app with many listeners has tens of thousands.

    It needs no lock either: each of its steps on the list of callbacks is atomic.
    """

    _is_done = False

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[Any]], object]] = []

    def set_result(self, result: Any) -> None:
        self._result = result
        self._complete()

    def set_exception(self, exception: Exception, traceback: TracebackType | None = None) -> None:
        self._exception = exception
        self._traceback = traceback
        self._complete()

    def result(self) -> Any:
        self._wait()
        if self._exception is not None:
            raise self._exception.with_traceback(self._traceback)
        return self._result

    def done(self) -> bool:
        return self._is_done

    def exception(self) -> Any:
        self._wait()
        return self._exception

    def traceback(self) -> TracebackType | None:
        self._wait()
        return self._traceback

    def add_done_callback(self, callback: Callable[[Future[Any]], Any]) -> None:
        self._callbacks.append(callback)
        if self._is_done:
            self._run_callbacks()

    def _complete(self) -> None:
        self._is_done = True
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        """Run each callback once, also when one is added on another thread at this moment."""
        while True:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            self._invoke_cb(callback)  # type: ignore[no-untyped-call]

    def _wait(self) -> None:
        if self._is_done:
            return
        self._reactor_check()  # type: ignore[no-untyped-call]
        done = threading.Event()
        self.add_done_callback(lambda _: done.set())
        done.wait()
