"""Patches of the official client's reactor: its waker, its loop, its thread."""

from __future__ import annotations

import contextlib
import math
import os
import select
import threading
from collections.abc import Callable
from typing import Any

from hazelcast.future import Future

from ...._threads import at_work, resting
from ...._threads.forks import rest, resume
from ..versions import unsupported_version
from .clock import now

try:
    from hazelcast.reactor import asyncore  # type: ignore[attr-defined]  # whichever it uses
except ImportError as error:
    raise ImportError(unsupported_version(["asyncore"])) from error

# How long an idle reactor sleeps at most, seconds; and while it shuts down, as long as the official one.
_MAX_SLEEP, _SHUTDOWN_SLEEP = 0.1, 0.01
# How much of one turn of the loop counts as time in which the reactor ran, seconds.
_MAX_TURN = 1.5 * _MAX_SLEEP


def fix_waker_race(reactor: Any) -> None:
    """Fix a race in which the reactor's waker gets stuck.

    The official ``_PipedWaker.handle_read`` clears ``awake`` before it empties the pipe. A wake-up in between is
    lost, and from then on every call waits for the reactor's 10 ms tick. Here the pipe is emptied first, which is
    safe: after reading the pipe the reactor asks every connection whether it has something to write.
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
    """Have the reactor sleep until there is an event or a timer.

    The official one polls a hundred times a second, for each cluster and in every worker. Needs ``fix_waker_race``, so
    that no wake-up is lost, and timers that use the monotonic clock.
    """
    waker = _piped_waker(reactor)
    if waker is None:
        return
    loop = reactor._loop
    add_timer, shut_down = loop.add_timer, loop.shutdown
    max_sleep = _MAX_SLEEP

    def run_loop() -> None:
        timeout = max_sleep
        if loop._new_timers:
            timeout = 0.0
        elif loop._timers:
            timeout = min(timeout, max(0.0, loop._timers[0][0] - now()))
        # A thread that was interrupted between this mark and the wake-up itself would leave the waker stuck.
        waker.awake = False
        _poll(reactor.map, timeout)

    def wake() -> None:
        if loop._is_live:  # else the pipe may be closed, and its number reused for another file
            loop.wake_loop()

    def add_and_wake(delay: float, callback: Callable[[], object]) -> Any:
        timer = add_timer(delay, callback)
        if delay < _MAX_SLEEP:
            wake()
        return timer

    def wake_and_shut_down() -> None:
        nonlocal max_sleep
        max_sleep = _SHUTDOWN_SLEEP
        wake()
        with resting():
            shut_down()

    def run_at_work() -> None:
        with at_work("hazelcast-reactor"):
            run()

    run, loop._loop = loop._loop, run_at_work
    loop.run_loop, loop.add_timer, loop.shutdown = run_loop, add_and_wake, wake_and_shut_down


def _poll(dispatchers: dict[int, Any], timeout: float) -> None:
    """Wait for events and handle them, as ``asyncore.poll2`` does, but rest while waiting."""
    pollster = select.poll()
    for number, dispatcher in list(dispatchers.items()):
        wanted = select.POLLIN | select.POLLPRI if dispatcher.readable() else 0
        if dispatcher.writable() and not dispatcher.accepting:
            wanted |= select.POLLOUT
        if wanted:
            pollster.register(number, wanted)
    worker = rest()  # in short, since each operation pays for this
    try:
        ready = pollster.poll(math.ceil(timeout * 1000))
    finally:
        if worker is not None:
            resume(worker)
    for number, events in ready:
        if (dispatcher := dispatchers.get(number)) is not None:
            asyncore.readwrite(dispatcher, events)


class ReactorClock:
    """A clock that runs only while the reactor does: not while the process is stopped or one callback blocks.

    A timeout for an answer has to use it, since no answer can be read while the reactor does not run.
    """

    def __init__(self, reactor: Any) -> None:
        # The clock's time when the current turn of the loop began, and when that was. Replaced as a whole by the
        # reactor's thread.
        self._turn = (0.0, now())
        loop = reactor._loop
        run_loop = loop.run_loop

        def run_turn() -> None:
            self._turn = self.now(), now()
            run_loop()

        loop.run_loop = run_turn

    def now(self) -> float:
        """The time of this clock, seconds."""
        ran, began = self._turn
        return ran + min(now() - began, _MAX_TURN)


def _piped_waker(reactor: Any) -> Any | None:
    """The reactor's waker if it has a pipe: not on Windows, nor where the official client falls back to polling."""
    waker = getattr(reactor._loop, "waker", None)
    return waker if hasattr(waker, "_read_fd") else None


def is_reactor_thread() -> bool:
    """Whether the calling thread is an official client's reactor, which must never block."""
    return hasattr(Future._threading_locals, "is_reactor_thread")


def call_without_waiting(function: Callable[..., object], *args: object) -> None:
    """Call a function as if on a reactor's thread, where waiting for a future raises instead of blocking."""
    flags: Any = Future._threading_locals
    if is_reactor_thread():
        function(*args)
        return
    try:  # no context manager: an exception that arrives while it is entered would leave the mark behind
        flags.is_reactor_thread = True
        function(*args)
    finally:
        with contextlib.suppress(AttributeError):
            del flags.is_reactor_thread


def support_late_gevent_patch() -> None:
    """Make the official mark of reactor threads greenlet-local if gevent patched after the import, as under gunicorn.

    Otherwise every greenlet counts as the reactor.
    """
    if type(Future._threading_locals) is not threading.local:
        Future._threading_locals = threading.local()
