"""The background thread of a fleet: a heartbeat about once a second and when woken, tasks in between."""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Callable
from typing import TypeVar

from .._threads import Promise, ServiceThread, resting

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
        # None only wakes the thread. Single steps of a queue by any thread.
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = self._new_thread()  # replaced by the thread itself when it ends
        self._is_woken = False  # set by any thread, reset by this one before each heartbeat
        self._is_stopped = False  # set once

    def wake(self) -> None:
        """Have a heartbeat soon."""
        if not self._is_woken:
            self._is_woken = True
            self._tasks.put(None)
        self._start()

    def submit(self, task: Callable[[], object]) -> None:
        """Have a task run soon."""
        self._tasks.put(task)
        self._start()

    def call(self, task: Callable[[], Result], timeout: float) -> Result:
        """Have a task run and return its result.

        :param timeout: seconds; raises ``TimeoutError`` after that
        """
        done = Promise[Result]()

        def run() -> None:
            try:
                done.set_result(task())
            except Exception as error:
                done.set_exception(error)

        if self._is_stopped:
            raise TimeoutError("the fleet's thread was stopped")
        self.submit(run)
        return done.result(timeout)

    def stop(self, timeout: float) -> None:
        """End the thread for good; wait for that, ``timeout`` seconds at most."""
        thread = self._thread
        self._is_stopped = True
        self._tasks.put(None)
        thread.join(timeout)

    def schedule(self, at: float) -> None:
        """Set the time of the next heartbeat, monotonic seconds. For the heartbeat itself."""
        self._next_at = at

    def _new_thread(self) -> ServiceThread:
        return ServiceThread(self._run, "hazelcast-failover-fleet")

    def _start(self) -> None:
        if not self._is_stopped:
            self._thread.start()

    def _run(self) -> None:
        while not self._is_stopped:
            task = self._next_task()
            if task is None and self._is_at_rest():
                break
            try:
                if task is not None:
                    task()
                elif not self._is_stopped:
                    self._is_woken = False
                    self._began_at = time.monotonic()
                    self._heartbeat()
            except Exception:
                level = logging.DEBUG if self._has_failed else logging.ERROR
                self._has_failed = True  # it will fail likewise every second
                _logger.log(level, "unexpected failure in the fleet %s", self._fleet, exc_info=True)
        self._thread = self._new_thread()
        if not self._tasks.empty():
            self._start()  # for what was submitted to the former thread a moment ago

    def _next_task(self) -> Callable[[], object] | None:
        """Wait for a task; ``None`` once a heartbeat is due, or the thread has to end."""
        while not self._is_stopped:
            at = min(self._next_at, self._began_at + _WOKEN_INTERVAL) if self._is_woken else self._next_at
            try:
                with resting():
                    task = self._tasks.get(timeout=max(0.0, at - time.monotonic()))
            except queue.Empty:
                return None
            if task is not None:
                return task
        return None
