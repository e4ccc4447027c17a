"""A wait for many official futures that goes on for as long as they complete one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hazelcast.future import Future

from ..._threads import Notifier

# How often a wait checks whether it is still wanted, seconds.
_CHECK_INTERVAL = 0.1


class Cancelled(Exception):
    """The result of a wait is not wanted any more."""


class FutureBatch:
    """Futures to wait for, however many there are, until none completes for some time. Used by one thread.

    :param idle_timeout: for how long none may complete, seconds
    :param is_wanted: whether the results are still wanted; called often
    """

    def __init__(self, idle_timeout: float, is_wanted: Callable[[], bool]) -> None:
        self._idle_timeout = idle_timeout
        self._is_wanted = is_wanted
        self._changes = Notifier()
        self._lock = threading.Lock()
        self._pending = 0  # under _lock
        self._last_done = time.monotonic()  # under _lock

    def add(self, future: Future[Any]) -> None:
        """Add a future.

        :raises Cancelled: the results are not wanted any more
        """
        if not self._is_wanted():
            raise Cancelled("it is not wanted any more")
        with self._lock:
            if not self._pending:
                self._last_done = time.monotonic()
            self._pending += 1
        future.add_done_callback(self._on_done)

    def wait(self, max_pending: int = 0) -> None:
        """Wait until no more than ``max_pending`` futures are pending; failed ones are done too.

        :raises TimeoutError: none was done for too long
        :raises Cancelled: the results are not wanted any more
        """
        while self._is_wanted():
            with self._lock:
                pending, left = self._pending, self._last_done + self._idle_timeout - time.monotonic()
            if pending <= max_pending:
                return
            if left <= 0:
                raise TimeoutError(f"no answer for {self._idle_timeout:g} s, {pending} are missing")
            self._changes.wait_for(lambda: self._pending <= max_pending, min(left, _CHECK_INTERVAL))
        raise Cancelled("it is not wanted any more")

    def _on_done(self, _: Future[Any]) -> None:
        with self._lock:
            self._pending -= 1
            self._last_done = time.monotonic()
        self._changes.notify()
