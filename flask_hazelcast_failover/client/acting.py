"""Acting for another thread: members know the holder of a lock by the id of the thread that took it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ActingThread", "acting_for"]


class ActingThread(threading.Thread):
    """A thread that may carry on with what another one has begun, under that one's id."""

    _acts_for: int | None = None  # of this thread only

    @property
    def ident(self) -> int | None:
        """The id of the thread that it acts for, else its own."""
        return super().ident if self._acts_for is None else self._acts_for


@contextmanager
def acting_for(thread: int) -> Iterator[None]:
    """Have the official client take the calling thread for the one with the id ``thread``."""
    current = threading.current_thread()
    if not isinstance(current, ActingThread):
        yield
        return
    current._acts_for = thread
    try:
        yield
    finally:
        current._acts_for = None
