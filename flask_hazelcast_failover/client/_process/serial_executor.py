"""An executor with one thread, which runs tasks in order and is started by the first one."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .thread_identity import impersonating_thread

_logger = logging.getLogger("flask_hazelcast_failover.client")


class SerialExecutor:
    """Runs tasks one after the other on one daemon thread.

    :param name: the thread's name
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._init_state()

    def submit(self, task: Callable[[], object]) -> None:
        """Run a task after those submitted before it. What it raises is logged."""
        with self._changed:
            self._tasks.append(task)
            if self._thread is None:
                self._start()
            self._changed.notify()

    def flush(self, timeout: float) -> None:
        """Wait until the tasks submitted so far have run, ``timeout`` seconds at most."""
        if self._thread is None or self.is_current():
            return
        done = threading.Event()
        self.submit(done.set)
        done.wait(timeout)

    def stop(self) -> None:
        """Keep no idle thread from now on. Tasks still run, since a caller may wait for one."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def pause(self, timeout: float) -> None:
        """End the thread once it is idle; the next task starts another one."""
        self.stop()
        self.join(timeout)
        with self._changed:
            self._stopped = False

    def reset_after_fork(self) -> None:
        """Drop the tasks of the parent: a forked child does not have its thread."""
        self._init_state()

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def is_current(self) -> bool:
        """Whether a task calls this."""
        return threading.current_thread() is self._thread

    def _init_state(self) -> None:
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], object]] = deque()  # under _changed
        self._thread: threading.Thread | None = None  # under _changed
        self._stopped = False  # under _changed

    def _start(self) -> None:
        thread = impersonating_thread(self._run, self._name)
        try:
            thread.start()
        except RuntimeError:
            if not self._stopped:
                raise
            return  # the interpreter is ending
        self._thread = thread

    def _run(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except BaseException:  # sys.exit() in one listener must not end the thread that serves all
                _logger.exception("unexpected failure on thread %s", self._name)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            # A forked child inherits running greenlets; the executor has a new thread there.
            while self._thread is threading.current_thread():
                if self._tasks:
                    return self._tasks.popleft()
                if self._stopped:
                    self._thread = None
                    break
                self._changed.wait()
            return None
