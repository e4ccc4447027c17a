"""The background thread of a fleet: a heartbeat about once a second and when woken, tasks in between."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

_logger = logging.getLogger("flask_hazelcast_failover.fleet")

# Between two heartbeats that others wake, seconds at least: whoever writes to a cluster can wake this process.
_WOKEN_INTERVAL = 0.05

Result = TypeVar("Result")


class HeartbeatThread:
    """Starts with the first wake-up or task and ends once the client is at rest. Safe under threads.

    :param fleet: the fleet's name, for the log
    :param heartbeat: what to run; it calls :meth:`schedule`
    :param is_at_rest: whether the thread may end
    """

    def __init__(self, fleet: str, heartbeat: Callable[[], None], is_at_rest: Callable[[], bool]) -> None:
        self._fleet = fleet
        self._heartbeat = heartbeat
        self._is_at_rest = is_at_rest
        self._next_at = 0.0  # monotonic seconds; of the thread
        self._began_at = -math.inf  # when the last heartbeat did, monotonic seconds; of the thread
        self._has_failed = False  # of the thread
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], object]] = deque()  # under _changed
        self._thread: threading.Thread | None = None  # under _changed
        self._is_woken = False  # under _changed
        self._is_stopped = False  # under _changed

    def wake(self) -> None:
        """Have a heartbeat soon."""
        with self._changed:
            self._is_woken = True
            self._start_if_needed()
            self._changed.notify_all()

    def submit(self, task: Callable[[], object]) -> None:
        """Have a task run soon."""
        with self._changed:
            self._tasks.append(task)
            self._start_if_needed()
            self._changed.notify_all()

    def call(self, task: Callable[[], Result], timeout: float) -> Result:
        """Have a task run and return its result.

        :param timeout: seconds; raises ``TimeoutError`` after that
        """
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(task())
            except Exception as error:
                done.set_exception(error)

        with self._changed:
            if self._is_stopped:
                raise TimeoutError("the fleet's thread was stopped")
        self.submit(run)
        try:
            return done.result(timeout)
        except FutureTimeoutError:  # not the built-in TimeoutError before Python 3.11
            raise TimeoutError("the fleet's thread did not answer in time") from None

    def stop(self, timeout: float) -> None:
        """End the thread for good; wait for that, ``timeout`` seconds at most."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def schedule(self, at: float) -> None:
        """Set the time of the next heartbeat, monotonic seconds. For the heartbeat itself."""
        self._next_at = at

    def _start_if_needed(self) -> None:
        if self._thread is None and not self._is_stopped:
            self._thread = threading.Thread(target=self._run, name="hazelcast-failover-fleet", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (tasks := self._next_tasks()) is not None:
            try:
                for task in tasks:
                    task()
                if not tasks:
                    self._began_at = time.monotonic()
                    self._heartbeat()
            except Exception:
                level = logging.DEBUG if self._has_failed else logging.ERROR
                self._has_failed = True  # it will fail likewise every second
                _logger.log(level, "unexpected failure in the fleet %s", self._fleet, exc_info=True)

    def _next_tasks(self) -> list[Callable[[], object]] | None:
        """Wait for tasks; return none for a heartbeat, ``None`` to end the thread."""
        with self._changed:
            while not self._tasks and not self._is_stopped:
                at = min(self._next_at, self._began_at + _WOKEN_INTERVAL) if self._is_woken else self._next_at
                left = at - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._is_stopped or (not self._tasks and self._is_at_rest()):
                self._thread = None
                return None
            tasks = list(self._tasks)
            self._tasks.clear()
            if not tasks:
                self._is_woken = False
            return tasks
