"""Interruption of greenlets at a chosen yield point. For programs in which gevent has patched the standard library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import gevent
import greenlet

__all__ = ["answers", "interrupted"]

_Throw = Callable[["gevent.Greenlet[..., Any]", BaseException], object]

# Seconds that a greenlet may take to end after it was interrupted.
_END_TIMEOUT = 15.0


def _throw_at_once(victim: gevent.Greenlet[..., Any], error: BaseException) -> None:
    victim.throw(error)


def _throw_from_callback(victim: gevent.Greenlet[..., Any], error: BaseException) -> None:
    victim.kill(error, block=False)  # what was due before may wake it first


def _throw_from_timer(victim: gevent.Greenlet[..., Any], error: BaseException) -> None:
    gevent.get_hub().loop.timer(0.0).start(victim.throw, error)  # as gevent.Timeout does


_THROWS: tuple[tuple[_Throw, type[BaseException]], ...] = (
    (_throw_at_once, gevent.GreenletExit),
    (_throw_from_callback, gevent.GreenletExit),
    (_throw_from_timer, gevent.Timeout),
)


def interrupted(act: Callable[[], object], is_counted: Callable[[], bool] = lambda: True) -> Iterator[str]:
    """Run a function again and again, each time in a greenlet that is interrupted at another one of its yields.

    Gives, after each run, where that was.

    :param is_counted: whether a yield at this moment is one of those
    """
    gevent.get_hub().NOT_ERROR = (gevent.Timeout, gevent.GreenletExit)  # not printed
    for throw, error in _THROWS:
        for at in count(1):
            if not _is_interrupted(act, at, is_counted, throw, error()):
                break
            yield f"{throw.__name__} {error.__name__} at yield {at}"


def answers(task: Callable[[], object], within: float = 5.0) -> None:
    """Run a task in a greenlet of its own, in time."""
    gevent.spawn(task).get(timeout=within)


def _is_interrupted(
    act: Callable[[], object],
    at: int,
    is_counted: Callable[[], bool],
    throw: _Throw,
    error: BaseException,
) -> bool:
    """Run a function in a greenlet, interrupt it at its n-th yield; ``False`` if it does not yield so often."""
    victim, yields = gevent.Greenlet(act), 0

    def trace(event: str, greenlets: tuple[object, object]) -> None:
        nonlocal yields
        if greenlets[0] is victim and not victim.dead and is_counted():
            yields += 1
            if yields == at:
                throw(victim, error)

    before = greenlet.settrace(trace)
    try:
        victim.start()
        victim.join(_END_TIMEOUT)
    finally:
        greenlet.settrace(before)
    assert victim.dead, f"does not end after {throw} at yield {at}"
    if yields < at:
        victim.get()  # raises what the function raises by itself
    return yields >= at
