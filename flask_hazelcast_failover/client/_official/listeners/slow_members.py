"""Requests that go on without members that do not respond.

The official client never resends a request that went to a frozen member, and waits for every member when it registers
a listener. Here a member counts as silent once nothing has come from it for some time; one that works through many
requests responds to some of them and is waited for.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from hazelcast.future import Future
from hazelcast.invocation import Invocation

from ..transport.futures import LightFuture

# After how long without a response a member counts as silent, seconds.
_SILENCE = 0.5

Timer = Callable[[float, Callable[[], None]], object]
Check = Callable[[], bool]
"""Goes on without the silent members if it can; returns whether there is nothing left to check."""


class SlowMembers:
    """Tracks when members respond, and runs checks of what waits for them, all by one timer.

    :param add_timer: calls back on the reactor's thread
    :param is_live: whether the reactor runs; while it shuts down, it runs every timer at once
    """

    def __init__(self, add_timer: Timer, is_live: Callable[[], bool]) -> None:
        self._add_timer = add_timer
        self._is_live = is_live
        self._lock = threading.Lock()
        self._checks: dict[
            object, tuple[float, Check]
        ] = {}  # oldest first, with their beginning; under _lock
        self._is_ticking = False  # under _lock

    def on_response(self, connection: Any) -> None:
        """A member has responded to a request that is watched."""
        connection.last_response = time.monotonic()

    def is_silent(self, connection: Any) -> bool:
        """Whether a member has not responded for so long that requests go on without it."""
        return time.monotonic() - getattr(connection, "last_response", 0.0) >= _SILENCE

    def watch(self, key: object, check: Check) -> None:
        """Run ``check`` periodically until it returns ``True``, or until ``unwatch``."""
        with self._lock:
            self._checks[key] = time.monotonic(), check
            starts, self._is_ticking = not self._is_ticking, True
        if starts:
            self._add_timer(_SILENCE, self._tick)

    def unwatch(self, key: object) -> None:
        """Run the check of ``key`` no more."""
        with self._lock:
            self._checks.pop(key, None)

    def _tick(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = []
            for key, (began, check) in self._checks.items():
                if now - began < _SILENCE:
                    break
                due.append((key, check))
        for key, check in due:
            if check():
                self.unwatch(key)
        with self._lock:
            if not self._checks or not self._is_live():
                self._is_ticking = False
                return
            oldest = next(began for began, _ in self._checks.values())
        self._add_timer(min(_SILENCE, max(0.05, oldest + _SILENCE - now)), self._tick)


def send_to_any(
    invoke: Callable[[Invocation], None],
    make_request: Callable[[], Any],
    slow_members: SlowMembers,
    connections: Callable[[], list[Any]],
) -> Future[Any]:
    """Send a request to any member, and to all of them if that one is silent.

    :param invoke: sends an invocation
    :param make_request: makes the request, which has to be idempotent
    :param connections: returns the open connections
    """
    response = LightFuture()
    first = Invocation(make_request())
    first.future = LightFuture()

    def on_first_done(future: Future[Any]) -> None:
        if first.sent_connection is not None:
            slow_members.on_response(first.sent_connection)
        slow_members.unwatch(response)
        if response.done():
            return
        if future.is_success():
            response.set_result(future.result())
        else:
            response.set_exception(future.exception(), future.traceback())  # type: ignore[arg-type]

    def on_other_done(future: Future[Any]) -> None:
        if future.is_success() and not response.done():
            response.set_result(future.result())

    def send_to_all_if_silent() -> bool:
        if response.done():
            return True
        if first.sent_connection is not None and not slow_members.is_silent(first.sent_connection):
            return False
        for connection in connections():
            other = Invocation(make_request(), connection=connection)
            with contextlib.suppress(Exception):  # the connection is closed, or about to be
                invoke(other)
                other.future.add_done_callback(on_other_done)
        return True

    # Watched before it is sent: `unwatch` may be called at once.
    slow_members.watch(response, send_to_all_if_silent)
    invoke(first)
    first.future.add_done_callback(on_first_done)
    return response
