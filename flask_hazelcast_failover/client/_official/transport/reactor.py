"""The official client's reactor: its thread, which must never wait, its waker, which gets stuck, and its tick."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hazelcast.future import Future

from flask_hazelcast_failover.client._official.transport.clock import now, use_monotonic_timers
from flask_hazelcast_failover.client._official.transport.traffic import MeasuredConnection
from flask_hazelcast_failover.client._official.versions import unsupported_version

try:
    from hazelcast.connection import _Reader
    from hazelcast.reactor import asyncore  # type: ignore[attr-defined]  # whichever it uses
except ImportError as error:
    raise ImportError(unsupported_version(["_Reader or asyncore"])) from error

__all__ = [
    "CheckedReader",
    "ReactorClock",
    "fix_waker_race",
    "is_reactor_thread",
    "sleep_until_event",
    "support_late_gevent_patch",
    "use_checked_reader",
    "without_waiting",
]

# How long a reactor sleeps at most with nothing to do, and as long as the official one while it ends, seconds.
_LONGEST_SLEEP, _TICK = 0.1, 0.01
# How many bytes that were read a reader may keep.
_KEPT = 1 << 20
# What a turn of the reactor may take until the rest counts as time in which it did not run, seconds.
_LONGEST_TURN = 1.5 * _LONGEST_SLEEP


def fix_waker_race(reactor: Any) -> None:
    """Keep the reactor's waker from getting stuck.

    The official one marks itself asleep before it empties its pipe; a wake-up in between is emptied
    with the rest, and every later call waits for the reactor's 10 ms tick. Emptying first is safe:
    the reactor asks every connection for something to write once the pipe was read.
    """
    waker = _piped_waker(reactor)
    if waker is None:
        return
    read_fd = waker._read_fd

    def handle_read() -> None:
        try:
            while len(os.read(read_fd, 4096)) == 4096:
                pass
        except OSError:
            pass
        waker.awake = False

    waker.handle_read = handle_read


def sleep_until_event(reactor: Any) -> None:
    """Have the reactor sleep until something comes, instead of looking a hundred times a second.

    An app keeps a connection to each of its clusters all the time, in every process. Needs a waker that was
    put right: then a wake-up is never lost, and the tick finds nothing that a wake-up did not say.
    """
    if _piped_waker(reactor) is None:
        return
    use_monotonic_timers(reactor)
    loop = reactor._loop
    add_timer, shut_down = loop.add_timer, loop.shutdown
    longest = _LONGEST_SLEEP

    def run_loop() -> None:
        pause = longest
        if loop._new_timers:
            pause = 0.0
        elif loop._timers:
            pause = min(pause, max(0.0, loop._timers[0][0] - now()))
        asyncore.loop(timeout=pause, use_poll=True, map=reactor.map, count=1)

    def wake() -> None:
        if loop._is_live:  # else its pipe may be closed, and the number be another file's
            loop.wake_loop()

    def add_and_wake(delay: float, callback: Callable[[], object]) -> Any:
        timer = add_timer(delay, callback)
        if delay < _LONGEST_SLEEP:
            wake()
        return timer

    def wake_and_shut_down() -> None:
        nonlocal longest
        longest = _TICK
        wake()
        shut_down()

    loop.run_loop, loop.add_timer, loop.shutdown = run_loop, add_and_wake, wake_and_shut_down


class ReactorClock:
    """Seconds in which a reactor ran: none in which the process was stopped, or the reactor busy with one thing.

    Whoever waits for bytes may count no other time: nothing could be read in it.
    """

    def __init__(self, reactor: Any) -> None:
        # What had run before this turn, and when the turn began. Replaced as a whole by the reactor's thread.
        self._turn = (0.0, now())
        loop = reactor._loop
        run_loop = loop.run_loop

        def run_turn() -> None:
            ran, began = self._turn
            begins = now()
            self._turn = ran + min(begins - began, _LONGEST_TURN), begins
            run_loop()

        loop.run_loop = run_turn

    def now(self) -> float:
        """The reactor's own time."""
        ran, began = self._turn
        return ran + min(now() - began, _LONGEST_TURN)


def _piped_waker(reactor: Any) -> Any | None:
    """The reactor's waker; none for the loop without wake-ups and for the one of Windows."""
    waker = getattr(reactor._loop, "waker", None)
    return waker if hasattr(waker, "_read_fd") else None


class CheckedReader(_Reader):
    """The official reader of frames with two faults put right.

    It goes round in circles at a frame that claims to be shorter than its header, and keeps all that it has read for as
    long as each read ends within a message, as in a flood of events.
    """

    def __init__(self, builder: Any) -> None:
        super().__init__(builder)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        super().process()  # type: ignore[no-untyped-call]
        # What is left is moved only when there is less of it than what that frees.
        if self._bytes_read > max(_KEPT, self.length):
            rest = self._buf.getbuffer()[self._bytes_read : self._bytes_written].tobytes()
            self._buf = io.BytesIO()
            self._buf.write(rest)
            self._bytes_read, self._bytes_written = 0, len(rest)

    def _read_frame_size_and_flags(self) -> None:
        super()._read_frame_size_and_flags()  # type: ignore[no-untyped-call]
        if self._frame_size < 0:
            raise ValueError("a frame shorter than its own header came: this is no Hazelcast member")


class _CarefulConnection(MeasuredConnection):
    def create_socket(self, *kind: Any) -> None:
        self._reader = CheckedReader(self._builder)  # here, since nothing can be read before
        super().create_socket(*kind)


def use_checked_reader(reactor: Any) -> None:
    """Close a connection over which garbage comes, instead of reading it for ever."""
    reactor.connection_factory = partial(_CarefulConnection, reactor)


def is_reactor_thread() -> bool:
    """Whether the calling thread is one of the official client's, which must never wait."""
    return hasattr(Future._threading_locals, "is_reactor_thread")


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Treat the calling thread as one of the official client's, where waiting for a future raises."""
    flags: Any = Future._threading_locals
    if is_reactor_thread():
        yield
        return
    flags.is_reactor_thread = True
    try:
        yield
    finally:
        del flags.is_reactor_thread


def support_late_gevent_patch() -> None:
    """Greenlets may come after the import, as in gunicorn's workers: then not all of them are the reactor."""
    if type(Future._threading_locals) is not threading.local:
        Future._threading_locals = threading.local()
