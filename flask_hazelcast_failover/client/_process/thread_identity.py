"""Acting for another thread: members know the holder of a lock by the id of the thread that took it."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["impersonate", "impersonating_thread"]


class _Acting:
    """What a thread needs to carry on with what another one has begun, under that one's id."""

    _acts_for: int | None = None  # of this thread only

    @property
    def ident(self) -> int | None:
        """The id of the thread that it acts for, else its own."""
        own: int | None = super().ident  # type: ignore[misc]
        return own if self._acts_for is None else self._acts_for


def impersonating_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """Make a daemon thread that may act for another one; it is not started yet."""
    # Of the class that there is now: gevent puts one of its own in its place, and who joins a greenlet notices
    # its end only with that one.
    thread: threading.Thread = _class_over(threading.Thread)(target=target, name=name, daemon=True)
    return thread


@cache
def _class_over(base: type[threading.Thread]) -> type[threading.Thread]:
    return types.new_class("ActingThread", (_Acting, base))


@contextmanager
def impersonate(thread: int) -> Iterator[None]:
    """Have the official client take the calling thread for the one with the id ``thread``."""
    current = threading.current_thread()
    if not isinstance(current, _Acting):
        yield
        return
    current._acts_for = thread
    try:
        yield
    finally:
        current._acts_for = None
