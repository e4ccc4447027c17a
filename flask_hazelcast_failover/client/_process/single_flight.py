"""Lookups that may block for long: each on a thread of its own, one at a time for each key.

Whoever asks waits as long as they like. A lookup that outlives their patience goes on, and the next
one who asks gets its answer, so that attempts at a name that never answers pile up no threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillWaiting
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class SingleFlight(Generic[Key, Found]):
    """Answers shared by all who ask for the same key at the same time.

    :param look_up: what to run on the thread
    """

    def __init__(self, look_up: Callable[[Key], Found]) -> None:
        self._look_up = look_up
        self._threads_are: object = threading.local  # gevent's patches put another one in its place
        self._lock = threading.Lock()
        self._under_way: dict[Key, tuple[threading.Thread, Future[Found]]] = {}  # under _lock

    def ask(self, key: Key, deadline: float) -> Found:
        """What the lookup finds.

        :param deadline: how long to wait, monotonic seconds
        :raises TimeoutError: the wait is over
        :raises Exception: whatever the lookup raised
        """
        if self._threads_are is not threading.local:
            self.reset_after_fork()  # greenlets have come since the import: they would stop each other at this lock
        with self._lock:
            if key not in self._under_way:
                answer: Future[Found] = Future()
                thread = threading.Thread(
                    target=self._run, args=(key, answer), name="hazelcast-failover-lookup", daemon=True
                )
                thread.start()
                self._under_way[key] = thread, answer
            answer = self._under_way[key][1]
        try:
            return answer.result(max(0.0, deadline - time.monotonic()))
        except StillWaiting:
            raise TimeoutError("the lookup has not ended yet") from None

    def join(self, deadline: float) -> None:
        """Wait for the lookups under way, until ``deadline`` (monotonic seconds) at most."""
        with self._lock:
            threads = [thread for thread, _ in self._under_way.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, which has none of the threads."""
        self.__init__(self._look_up)  # type: ignore[misc]

    def _run(self, key: Key, answer: Future[Found]) -> None:
        try:
            found = self._look_up(key)
        except Exception as error:
            self._end(key)
            answer.set_exception(error)
        else:
            self._end(key)
            answer.set_result(found)

    def _end(self, key: Key) -> None:
        with self._lock:
            self._under_way.pop(key, None)
