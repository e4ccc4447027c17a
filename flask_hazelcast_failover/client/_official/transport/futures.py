"""A future that costs little while nobody waits for it: there may be tens of thousands at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hazelcast.future import Future

__all__ = ["LightFuture"]


class LightFuture(Future[Any]):
    """An official future that makes its lock only for who waits.

    Without a lock of its own: each step on its list is one that no other thread comes into.
    """

    _is_done = False

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Future[Any]], object]] = []

    def set_result(self, result: Any) -> None:
        self._result = result
        self._end()

    def set_exception(self, exception: Exception, traceback: TracebackType | None = None) -> None:
        self._exception = exception
        self._traceback = traceback
        self._end()

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
            self._call_back()

    def _end(self) -> None:
        self._is_done = True
        self._call_back()

    def _call_back(self) -> None:
        """Call each callback once, whoever comes first: who adds one while the future ends does this too."""
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
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        ended.wait()
