"""Turns at opening connections, so that many clients of one process do not keep each other from it.

Opening takes the interpreter's time, not only the network's. When hundreds of clients all begin at
once, each may become so slow that all of them run out of time, and again the next time.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Turn", "Turns", "turns"]

_AT_ONCE = 8


class Turn:
    """A place in the queue, and then a turn, until ``end``."""

    def __init__(self, turns: Turns, begin: Callable[[], None]) -> None:
        self.begin = begin
        self.has_begun = False  # set by the queue, before begin is called
        self._turns = turns

    def end(self) -> None:
        """Let the next one begin. May be called twice, and while still waiting."""
        self._turns._end(self)


class Turns:
    """A queue in which so many have their turn at once.

    :param at_once: how many
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._begun: set[Turn] = set()  # under _lock
        self._waiting: deque[Turn] = deque()  # likewise

    def take(self, begin: Callable[[], None]) -> Turn:
        """Queue up; ``begin`` is called when it is our turn, here or on another's thread."""
        turn = Turn(self, begin)
        with self._lock:
            self._waiting.append(turn)
        self._go_on()
        return turn

    def renew(self) -> None:
        """Begin anew in a forked child, which has none of those who queue."""
        self.__init__(self._at_once)  # type: ignore[misc]

    def _end(self, turn: Turn) -> None:
        with self._lock:
            self._begun.discard(turn)
            if turn in self._waiting:
                self._waiting.remove(turn)
        self._go_on()

    def _go_on(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or len(self._begun) >= self._at_once:
                    return
                turn = self._waiting.popleft()
                self._begun.add(turn)
                turn.has_begun = True
            turn.begin()


turns = Turns(_AT_ONCE)
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=turns.renew)
