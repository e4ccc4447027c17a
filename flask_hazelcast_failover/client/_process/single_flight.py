"""Blocking calls on threads of their own, at most one per key at a time.

A caller waits until its own deadline. A call that outlives it goes on and serves the next caller, so that
attempts at a name whose lookup never ends use one thread, not one each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SingleFlight(Generic[Key, Result]):
    """Shares one running call among all who request the same key.

    :param function: called with the key on a thread
    """

    def __init__(self, function: Callable[[Key], Result]) -> None:
        self._function = function
        self._init_state()

    def get(self, key: Key, deadline: float) -> Result:
        """The result for a key, of the running call if there is one.

        :param deadline: how long to wait, monotonic seconds
        :raises TimeoutError: the call had not ended by then
        :raises Exception: whatever the call raised
        """
        if self._thread_local_class is not threading.local:
            self._init_state()  # gevent has patched threads since: greenlets would deadlock on the old lock
        with self._lock:
            if key not in self._running:
                future: Future[Result] = Future()
                thread = threading.Thread(
                    target=self._run, args=(key, future), name="hazelcast-failover-lookup", daemon=True
                )
                thread.start()
                self._running[key] = thread, future
            future = self._running[key][1]
        try:
            return future.result(max(0.0, deadline - time.monotonic()))
        except FutureTimeoutError:
            raise TimeoutError("the lookup has not ended yet") from None

    def join(self, deadline: float) -> None:
        """Wait for the running calls, until ``deadline`` (monotonic seconds) at most."""
        with self._lock:
            threads = [thread for thread, _ in self._running.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def reset_after_fork(self) -> None:
        """Drop the calls of the parent: a forked child has none of its threads."""
        self._init_state()

    def _init_state(self) -> None:
        self._thread_local_class: object = threading.local  # gevent's patch replaces it
        self._lock = threading.Lock()
        self._running: dict[Key, tuple[threading.Thread, Future[Result]]] = {}  # under _lock

    def _run(self, key: Key, future: Future[Result]) -> None:
        try:
            result = self._function(key)
        except Exception as error:
            self._end(key)
            future.set_exception(error)
        else:
            self._end(key)
            future.set_result(result)

    def _end(self, key: Key) -> None:
        with self._lock:
            self._running.pop(key, None)
