"""A thread of the client's own that does things in order, started when there is something to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Runner"]

_logger = logging.getLogger("flask_hazelcast_failover.client")


class Runner:
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
            if self._stopped:
                return
            self._tasks.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def stop(self) -> None:
        """End the thread once the tasks submitted so far are done; later ones are not taken."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def rest(self, timeout: float) -> None:
        """End the thread as ``stop`` does; the next task starts another."""
        self.stop()
        self.join(timeout)
        self.renew()

    def renew(self) -> None:
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

    def _work(self) -> None:
        while (task := self._next()) is not None:
            try:
                task()
            except Exception:
                _logger.exception("unexpected failure on thread %s", self._name)

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._tasks and not self._stopped:
                self._changed.wait()
            return self._tasks.popleft() if self._tasks else None
