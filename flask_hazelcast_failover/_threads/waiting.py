"""Waits that hold no lock, so that whoever ends them never waits for the one who waits.

``threading.Condition`` and all that stands on it (``Event``, ``Semaphore``, ``queue.Queue``, futures) take their lock in
Python code. An exception that arrives at that moment in a user's thread, such as a time limit or Ctrl-C, leaves the
lock taken for good, and the next thread that only wants to notify hangs. The locks and queues used here are single
steps of the interpreter.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .forks import rest, resume

Result = TypeVar("Result")


class Latch:
    """Something that happens once, and one thread waits for."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self, *_: object) -> None:
        """It has happened. Never waits; arguments are ignored, so that it can be a callback."""
        try:  # noqa: SIM105 -- suppress() costs more, and each operation pays for it
            self._lock.release()
        except RuntimeError:
            pass  # it had happened before

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, ``timeout`` seconds at most; return whether it has happened. Gives ``True`` once."""
        limit = -1.0 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)
        worker = rest()
        try:
            return self._lock.acquire(timeout=limit)
        finally:
            if worker is not None:
                resume(worker)


class Notifier:
    """Lets threads wait until something is true that others make true."""

    def __init__(self) -> None:
        self._waiting: dict[Latch, None] = {}  # single steps of a dict by any thread

    def notify(self) -> None:
        """Have those who wait look again. To be called after each change; never waits."""
        for latch in list(self._waiting):
            self._waiting.pop(latch, None)
            latch.set()

    def wait_for(self, is_true: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``is_true`` returns ``True``, ``timeout`` seconds at most; return what it last returned."""
        deadline = time.monotonic() + timeout
        while True:
            latch = Latch()
            try:
                self._waiting[latch] = None  # before looking, so that no change is missed
                if is_true():
                    return True
                if not latch.wait(deadline - time.monotonic()):
                    return is_true()
            finally:
                self._waiting.pop(latch, None)


class Promise(Generic[Result]):
    """A result, or an error, that one thread gives and others wait for. Only the first counts."""

    def __init__(self) -> None:
        self._changes = Notifier()
        self._outcomes: list[
            tuple[Result | None, Exception | None]
        ] = []  # single steps of a list by any thread

    def set_result(self, result: Result) -> None:
        """Give the result. Never waits."""
        self._outcomes.append((result, None))
        self._changes.notify()

    def set_exception(self, error: Exception) -> None:
        """Give the error. Never waits."""
        self._outcomes.append((None, error))
        self._changes.notify()

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return bool(self._outcomes)

    def exception(self) -> Exception | None:
        """The error, if there is one by now."""
        return self._outcomes[0][1] if self._outcomes else None

    def result(self, timeout: float = math.inf) -> Result:
        """Wait for the result, ``timeout`` seconds at most.

        :raises TimeoutError: it has not come by then
        :raises Exception: the error that was given instead
        """
        if not self._changes.wait_for(self.done, timeout):
            raise TimeoutError(f"no result within {timeout:g} s")
        result, error = self._outcomes[0]
        if error is not None:
            raise error
        return result  # type: ignore[return-value]
