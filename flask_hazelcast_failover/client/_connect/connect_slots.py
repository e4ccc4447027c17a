"""Slots for opening connections, so that many clients of one process do not keep each other from it.

Opening takes the interpreter's time, not only the network's. When hundreds of clients all begin at once, each may
become so slow that all of them run out of time, and again the next time.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["ConnectSlot", "ConnectSlots", "connect_slots"]

_SLOTS = 8


class ConnectSlot:
    """A place in the queue, and then a slot, until ``release``."""

    def __init__(self, slots: ConnectSlots, on_ready: Callable[[], None]) -> None:
        self.on_ready = on_ready
        self.is_ready = False  # set by ConnectSlots, before on_ready is called
        self._slots = slots

    def release(self) -> None:
        """Let the next one begin. May be called twice, and while still waiting."""
        self._slots._release(self)


class ConnectSlots:
    """A queue for a limited number of slots.

    :param count: how many connections may be opened at a time
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._taken: set[ConnectSlot] = set()  # under _lock
        self._waiting: deque[ConnectSlot] = deque()  # under _lock

    def queue(self, on_ready: Callable[[], None]) -> ConnectSlot:
        """Queue up; ``on_ready`` is called when there is a slot, here or on another's thread."""
        slot = ConnectSlot(self, on_ready)
        with self._lock:
            self._waiting.append(slot)
        self._hand_out()
        return slot

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, which has none of those who queue."""
        self._lock = threading.Lock()
        self._taken = set()
        self._waiting = deque()

    def _release(self, slot: ConnectSlot) -> None:
        with self._lock:
            self._taken.discard(slot)
            if slot in self._waiting:
                self._waiting.remove(slot)
        self._hand_out()

    def _hand_out(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or len(self._taken) >= self._count:
                    return
                slot = self._waiting.popleft()
                self._taken.add(slot)
                slot.is_ready = True
            slot.on_ready()


connect_slots = ConnectSlots(_SLOTS)
"""Those of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=connect_slots.reset_after_fork)
