"""Blocking calls on threads of their own, at most one per key at a time.

A caller waits until its own deadline. A call that outlives it goes on and serves the next caller, so that
attempts at a name whose lookup never ends use one thread, not one each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from ..._threads import Promise, helper_thread, resting
from .made_late import made_late

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
        calls = self._calls
        with calls.lock:
            if key not in calls.running:
                future = Promise[Result]()
                thread = helper_thread(partial(self._run, calls, key, future), "hazelcast-failover-lookup")
                thread.start()
                calls.running[key] = thread, future
            future = calls.running[key][1]
        return future.result(max(0.0, deadline - time.monotonic()))

    def join(self, deadline: float) -> None:
        """Wait for the running calls, until ``deadline`` (monotonic seconds) at most."""
        calls = self._calls
        with calls.lock:
            threads = [thread for thread, _ in calls.running.values()]
        for thread in threads:
            with resting():
                thread.join(max(0.0, deadline - time.monotonic()))

    def reset_after_fork(self) -> None:
        """Drop the calls of the parent: a forked child has none of its threads."""
        self._init_state()

    def _init_state(self) -> None:
        self._made: dict[object, _Calls[Key, Result]] = {}

    @property
    def _calls(self) -> _Calls[Key, Result]:
        return made_late(self._made, _Calls)

    def _run(self, calls: _Calls[Key, Result], key: Key, future: Promise[Result]) -> None:
        try:
            result = self._function(key)
        except Exception as error:
            calls.end(key)
            future.set_exception(error)
        else:
            calls.end(key)
            future.set_result(result)


class _Calls(Generic[Key, Result]):
    """The calls that run."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: dict[Key, tuple[threading.Thread, Promise[Result]]] = {}  # under lock

    def end(self, key: Key) -> None:
        """Forget a call."""
        with self.lock:
            self.running.pop(key, None)
