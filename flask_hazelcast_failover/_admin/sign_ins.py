"""Failed sign-ins are limited, so that neither a token can be guessed by trying nor the log be flooded."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["FailedSignIns", "LogLines"]

# An address that fails this often within so many seconds is refused unheard for the rest of them.
_ALLOWED, _WINDOW = 20, 60.0
# The addresses remembered; a flood of them pushes out the oldest, not the process out of memory.
_ADDRESSES = 10_000


class FailedSignIns:
    """Counts the failed sign-ins of each address in this process.

    :param now: gives the time in seconds
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()  # address -> when; under _lock

    def add(self, address: str) -> None:
        """Count a failed attempt from an address."""
        with self._lock:
            self._failed.setdefault(address, deque(maxlen=_ALLOWED)).append(self._now())
            self._failed.move_to_end(address)
            if len(self._failed) > _ADDRESSES:
                self._failed.popitem(last=False)

    def refused_for(self, address: str) -> float:
        """How many more seconds an address is refused unheard; 0 if it is heard."""
        with self._lock:
            failed = self._failed.get(address)
            if failed is None or len(failed) < _ALLOWED:
                return 0.0
            return max(0.0, failed[0] + _WINDOW - self._now())


class LogLines:
    """Gives each address one line of the log within a minute, and counts what it would have filled besides.

    :param now: gives the time in seconds
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._lines: OrderedDict[str, _Line] = OrderedDict()  # by address, the oldest first; under _lock

    def ask(self, address: str) -> int | None:
        """``None`` if an address has had its line, else how many it was refused since the last one."""
        with self._lock:
            now, line = self._now(), self._lines.get(address)
            if line is not None and now - line.at < _WINDOW:
                line.passed_over += 1
                return None
            self._lines[address] = _Line(now)
            self._lines.move_to_end(address)
            if len(self._lines) > _ADDRESSES:
                self._lines.popitem(last=False)
            return 0 if line is None else line.passed_over


@dataclass
class _Line:
    at: float
    passed_over: int = 0
