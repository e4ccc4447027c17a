"""A thread of the client's own that does things in order, started when there is something to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from flask_hazelcast_failover.client._process.thread_identity import impersonating_thread

__all__ = ["SerialExecutor"]

_logger = logging.getLogger("flask_hazelcast_failover.client")


class SerialExecutor:
    """Does tasks one after the other on one daemon thread.

    :param name: the thread's name
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._tasks: deque[Callable[[], object]] = deque()  # under _changed
        self._thread: threading.Thread | None = None  # under _changed
        self._stopped = False  # under _changed

    def submit(self, task: Callable[[], object]) -> None:
        """Have a task done after those submitted before it; one that raises is logged."""
        with self._changed:
            self._tasks.append(task)
            if self._thread is None:
                self._start()
            self._changed.notify()

    def flush(self, timeout: float) -> None:
        """Wait until what was submitted so far is done, ``timeout`` seconds at most."""
        if self._thread is None or self.is_current():
            return
        done = threading.Event()
        self.submit(done.set)
        done.wait(timeout)

    def stop(self) -> None:
        """Keep no thread without a task from now on. Tasks still are done, since somebody may wait for one."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def pause(self, timeout: float) -> None:
        """End the thread once it has nothing to do; the next task starts another."""
        self.stop()
        self.join(timeout)
        with self._changed:
            self._stopped = False

    def reset_after_fork(self) -> None:
        """Begin anew without a thread, as a forked child has to."""
        self.__init__(self._name)  # type: ignore[misc]

    def join(self, timeout: float) -> None:
        """Wait for the thread's end, ``timeout`` seconds at most."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def is_current(self) -> bool:
        """Whether the caller is one of the tasks."""
        return threading.current_thread() is self._thread

    def _start(self) -> None:
        thread = impersonating_thread(self._work, self._name)
        try:
            thread.start()
        except RuntimeError:
            if not self._stopped:
                raise
            return  # the interpreter is ending, and nobody waits any more
        self._thread = thread

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except BaseException:  # sys.exit() in a listener must not end the thread of the others
                _logger.exception("unexpected failure on thread %s", self._name)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            # A greenlet lives on in a forked child, where this runner belongs to another one.
            while self._thread is threading.current_thread():
                if self._tasks:
                    return self._tasks.popleft()
                if self._stopped:
                    self._thread = None
                    break
                self._changed.wait()
            return None
