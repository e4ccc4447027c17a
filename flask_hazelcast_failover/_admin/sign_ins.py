"""Limits failed sign-ins, so that nobody can try out passwords or flood the log."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .._foreign_text import MAX_NAME
from .._threads import reset_in_child

# An address that fails this often within so many seconds is blocked for the rest of them.
_ALLOWED, _WINDOW = 20, 60.0
# How many addresses are remembered: a flood of them pushes out the oldest instead of filling the memory.
_MAX_ADDRESSES = 10_000

_Value = TypeVar("_Value")


class _Locked:
    """Has a lock, and a new one in a forked child."""

    def __init__(self) -> None:
        self._init_lock()
        reset_in_child(self, _Locked._init_lock)

    def _init_lock(self) -> None:
        self._lock = threading.Lock()


class FailedSignIns(_Locked):
    """Counts the failed sign-ins of each address in this process.

    :param now: gives the time in seconds
    """

    def __init__(self, now: Callable[[], float] = lambda: time.monotonic()) -> None:
        super().__init__()
        self._now = now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()  # address -> when; under _lock

    def add(self, address: str) -> None:
        """Count a failed sign-in."""
        with self._lock:
            times = self._failures.get(address[:MAX_NAME]) or deque(maxlen=_ALLOWED)
            times.append(self._now())
            _remember(self._failures, address, times)

    def blocked_for(self, address: str) -> float:
        """For how many more seconds an address is blocked; 0 if it is not."""
        with self._lock:
            times = self._failures.get(address[:MAX_NAME])
            if times is None or len(times) < _ALLOWED:
                return 0.0
            return max(0.0, times[0] + _WINDOW - self._now())


class LogThrottle(_Locked):
    """Allows each address one line of the log per minute and counts the suppressed ones.

    :param now: gives the time in seconds
    """

    def __init__(self, now: Callable[[], float] = lambda: time.monotonic()) -> None:
        super().__init__()
        self._now = now
        self._lines: OrderedDict[str, _Line] = OrderedDict()  # address -> last line; under _lock

    def next_line(self, address: str) -> int | None:
        """How many lines were suppressed since the last one; ``None`` if this one is to be suppressed."""
        with self._lock:
            now, line = self._now(), self._lines.get(address[:MAX_NAME])
            if line is not None and now - line.at < _WINDOW:
                line.suppressed += 1
                return None
            _remember(self._lines, address, _Line(now))
            return 0 if line is None else line.suppressed


@dataclass
class _Line:
    at: float
    suppressed: int = 0


def _remember(entries: OrderedDict[str, _Value], address: str, value: _Value) -> None:
    known = address[:MAX_NAME]  # a proxy's header may have set it, to a text of any length
    entries[known] = value
    entries.move_to_end(known)
    if len(entries) > _MAX_ADDRESSES:
        entries.popitem(last=False)
