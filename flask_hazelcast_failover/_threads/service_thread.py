"""How threads of this package are made: all of them are daemon threads, and at work but where they rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .forks import at_work, resting

# How long a thread has to begin before another one is started in its place, seconds: an exception in the thread that
# starts it can arrive in the middle of that.
_START_TIMEOUT = 1.0


class ServiceThread:
    """A daemon thread that runs once at a time, whoever starts it and however often.

    :param run: what it does; it may be started again after that has returned
    :param name: of the thread
    :param make: makes the thread object
    """

    def __init__(
        self,
        run: Callable[[], object],
        name: str,
        make: Callable[[Callable[[], object], str], threading.Thread] | None = None,
    ) -> None:
        self._run = run
        self._name = name
        self._make = make or _daemon_thread
        self._tried_at = float("-inf")  # monotonic seconds; by any thread
        # The thread that runs, and the one that was started last. Single steps of a dict by any thread; the thread that
        # runs writes its own entry.
        self._role: dict[str, threading.Thread] = {}
        self._started: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread unless it runs, or was started a moment ago.

        :raises RuntimeError: no thread can be started, as at the exit of the interpreter
        """
        if self._role or time.monotonic() - self._tried_at < _START_TIMEOUT:
            return
        self._tried_at = time.monotonic()
        thread = self._make(self._run_alone, self._name)
        try:
            thread.start()
        except RuntimeError:
            self._tried_at = float("-inf")
            raise
        self._started = thread

    def is_running(self) -> bool:
        """Whether it has begun and not ended."""
        return bool(self._role)

    def is_current(self) -> bool:
        """Whether the calling thread is this one."""
        return self._role.get("thread") is threading.current_thread()

    def join(self, timeout: float) -> None:
        """Wait for its end, ``timeout`` seconds at most."""
        thread = self._role.get("thread", self._started)
        if thread is not None and thread is not threading.current_thread():
            with resting():
                thread.join(timeout)

    def _run_alone(self) -> None:
        me = threading.current_thread()
        if self._role.setdefault("thread", me) is not me:
            return  # another one has begun
        try:
            with at_work(self._name):
                self._run()
        finally:
            self._tried_at = float("-inf")
            del self._role["thread"]


def helper_thread(run: Callable[[], object], name: str) -> threading.Thread:
    """A thread, not started yet, that does one thing and ends."""

    def run_at_work() -> None:
        with at_work(name):
            run()

    return threading.Thread(target=run_at_work, name=name, daemon=True)


def _daemon_thread(run: Callable[[], object], name: str) -> threading.Thread:
    return threading.Thread(target=run, name=name, daemon=True)
