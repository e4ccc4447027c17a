"""An executor with one thread, which runs tasks in order and is started by the first one."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from ..._threads import Latch, ServiceThread, resting
from .thread_identity import impersonating_thread

_logger = logging.getLogger("flask_hazelcast_failover.client")


class SerialExecutor:
    """Runs tasks one after the other on one daemon thread. No method but ``flush``, ``pause`` and ``join`` waits.

    :param name: the thread's name
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._init_state()

    def submit(self, task: Callable[[], object]) -> None:
        """Run a task after those submitted before it. What it raises is logged."""
        self._tasks.put(task)
        self._start()

    def flush(self, timeout: float) -> None:
        """Wait until the tasks submitted so far have run, ``timeout`` seconds at most."""
        is_idle = self._tasks.empty() and not self._thread.is_running()
        if is_idle or self.is_current():
            return
        done = Latch()
        self.submit(done.set)
        done.wait(timeout)

    def stop(self) -> None:
        """Keep no idle thread from now on. Tasks still run, since a caller may wait for one."""
        self._is_stopped = True
        self._tasks.put(None)  # wakes the thread

    def pause(self, timeout: float) -> None:
        """End the thread once it is idle; the next task starts another one."""
        thread = self._thread
        self.stop()
        thread.join(timeout)
        self._is_stopped = False

    def tend(self) -> None:
        """Start the thread if tasks wait for it: whoever submitted them may have been interrupted before."""
        if not self._tasks.empty():
            self._start()

    def reset_after_fork(self) -> None:
        """Drop the tasks of the parent: a forked child does not have its thread."""
        self._init_state()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        self._thread.join(timeout)

    def is_current(self) -> bool:
        """Whether a task calls this."""
        return self._thread.is_current()

    def _init_state(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = self._new_thread()  # replaced by the thread itself when it ends
        self._is_stopped = False

    def _new_thread(self) -> ServiceThread:
        return ServiceThread(self._run, self._name, impersonating_thread)

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError:
            if not self._is_stopped:  # else the interpreter is ending
                raise

    def _run(self) -> None:
        tasks = self._tasks
        while tasks is self._tasks:  # a forked child inherits running greenlets, and has other tasks
            if self._is_stopped and tasks.empty():
                self._thread = self._new_thread()
                self.tend()  # for a task that was submitted to the former thread a moment ago
                return
            with resting():
                task = tasks.get()
            if task is not None:
                self._run_task(task)

    def _run_task(self, task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException:  # sys.exit() in one listener must not end the thread that serves all
            _logger.exception("unexpected failure on thread %s", self._name)
