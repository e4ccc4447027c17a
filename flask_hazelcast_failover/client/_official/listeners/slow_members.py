"""Members that do not answer hold up nobody who can do without them.

The official client leaves a question that went to a frozen member there, and waits for every member when it
registers a listener. How long is too long goes by silence: a member that works through what it was asked keeps
others waiting for as long as it takes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from hazelcast.future import Future
from hazelcast.invocation import Invocation

from flask_hazelcast_failover.client._official.transport.futures import LightFuture

__all__ = ["SlowMembers", "ask_any"]

# How long a member may say nothing while others wait for it, seconds.
_SILENCE = 0.5

Timer = Callable[[float, Callable[[], None]], object]
Look = Callable[[], bool]
"""Does what can be done without the silent members, and says whether there is nothing left to look after."""


class SlowMembers:
    """Notes when members answer, and has whoever waits for one looked after, all by one timer.

    :param add_timer: calls back on the reactor's thread
    :param is_live: whether the reactor runs; as it ends, it calls every timer back at once
    """

    def __init__(self, add_timer: Timer, is_live: Callable[[], bool]) -> None:
        self._add_timer = add_timer
        self._is_live = is_live
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[float, Look]] = {}  # by age, with when each began; under _lock
        self._is_ticking = False  # under _lock

    def heard(self, connection: Any) -> None:
        """A member has answered something that was asked with patience."""
        connection.answered_at = time.monotonic()

    def is_silent(self, connection: Any) -> bool:
        """Whether a member has answered nothing for so long that others go on without it."""
        return time.monotonic() - getattr(connection, "answered_at", 0.0) >= _SILENCE

    def begin(self, who: object, look: Look) -> None:
        """Have ``look`` called again and again from now on until it says that it is done, or ``end``."""
        with self._lock:
            self._waiting[who] = time.monotonic(), look
            begins, self._is_ticking = not self._is_ticking, True
        if begins:
            self._add_timer(_SILENCE, self._tick)

    def end(self, who: object) -> None:
        """Nobody waits for the answer to ``who`` any more."""
        with self._lock:
            self._waiting.pop(who, None)

    def _tick(self) -> None:
        now = time.monotonic()
        with self._lock:
            due = []
            for who, (began, look) in self._waiting.items():
                if now - began < _SILENCE:
                    break
                due.append((who, look))
        for who, look in due:
            if look():
                self.end(who)
        with self._lock:
            if not self._waiting or not self._is_live():
                self._is_ticking = False
                return
            oldest = next(began for began, _ in self._waiting.values())
        self._add_timer(min(_SILENCE, max(0.05, oldest + _SILENCE - now)), self._tick)


def ask_any(
    invoke: Callable[[Invocation], None],
    request: Callable[[], Any],
    patience: SlowMembers,
    connections: Callable[[], list[Any]],
) -> Future[Any]:
    """Ask any member what all of them know, and all of them if that one is silent.

    :param invoke: sends an invocation
    :param request: makes the request, which does no harm if it is done several times
    :param connections: those that are open
    """
    settled = LightFuture()
    first = Invocation(request())
    first.future = LightFuture()

    def ended(future: Future[Any]) -> None:
        if first.sent_connection is not None:
            patience.heard(first.sent_connection)
        patience.end(settled)
        if settled.done():
            return
        if future.is_success():
            settled.set_result(future.result())
        else:
            settled.set_exception(future.exception(), future.traceback())  # type: ignore[arg-type]

    def succeeded(future: Future[Any]) -> None:
        if future.is_success() and not settled.done():
            settled.set_result(future.result())

    def ask_all() -> bool:
        if settled.done():
            return True
        if first.sent_connection is not None and not patience.is_silent(first.sent_connection):
            return False
        for connection in connections():
            another = Invocation(request(), connection=connection)
            with contextlib.suppress(Exception):  # it is gone, or will be
                invoke(another)
                another.future.add_done_callback(succeeded)
        return True

    # Looked after first, or an answer that comes at once would be looked after for ever.
    patience.begin(settled, ask_all)
    invoke(first)
    first.future.add_done_callback(ended)
    return settled
