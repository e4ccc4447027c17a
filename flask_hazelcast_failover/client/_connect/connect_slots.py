"""A limit to the connections that one process opens at the same time.

Opening one takes time of the interpreter. If hundreds of clients open theirs at once, each becomes so slow that all of
them time out, and again at the next attempt. Who came last is served first: it has most of its time-out left, while
those that have waited long would time out before they are open, and the work for them would be in vain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..._threads import reset_in_child
from .._process.made_late import made_late

_SLOTS = 8


class ConnectSlot:
    """A wait for a slot, then the slot, until ``release``."""

    def __init__(self, slots: ConnectSlots, on_ready: Callable[[], None]) -> None:
        self.on_ready = on_ready
        self.is_ready = False  # set by ConnectSlots, before on_ready is called
        self._slots = slots

    def release(self) -> None:
        """Free the slot, or stop waiting for it. May be called twice."""
        self._slots._release(self)


class ConnectSlots:
    """A limited number of slots, which who came last gets first.

    :param count: the number of slots
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._init_state()

    def request(self, on_ready: Callable[[], None]) -> ConnectSlot:
        """Ask for a slot. ``on_ready`` is called once there is a slot, by this call or on another thread."""
        slot = ConnectSlot(self, on_ready)
        with self._lock:
            self._waiting.append(slot)
        self._hand_out()
        return slot

    def reset_after_fork(self) -> None:
        """Drop the parent's slots: a forked child has none of the threads in it."""
        self._init_state()

    def _init_state(self) -> None:
        self._locks: dict[object, threading.Lock] = {}
        self._taken: set[ConnectSlot] = set()  # under _lock
        self._waiting: list[ConnectSlot] = []  # under _lock

    @property
    def _lock(self) -> threading.Lock:
        return made_late(self._locks, threading.Lock)

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
                slot = self._waiting.pop()
                self._taken.add(slot)
                slot.is_ready = True
            slot.on_ready()


connect_slots = ConnectSlots(_SLOTS)
"""The slots of this process."""
reset_in_child(connect_slots, ConnectSlots.reset_after_fork)
