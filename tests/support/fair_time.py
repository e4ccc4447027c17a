"""A clock for upper bounds, which runs at a third of its speed while the machine is short of cores.

Several test files run at a time, each with clusters and servers of its own: code that waits for a core is not slow.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["fair_time"]

# The time in which some task was ready to run and had no core, as the Linux kernel counts it.
_PRESSURE = Path("/proc/pressure/cpu")
# The part of that time which is not counted.
_DISCOUNT = 2 / 3


def fair_time() -> float:
    """Return monotonic seconds, less two thirds of those in which some task waited for a core."""
    return time.monotonic() - _DISCOUNT * _seconds_short_of_cores()


def _seconds_short_of_cores() -> float:
    try:
        some = _PRESSURE.read_text().splitlines()[0]
    except OSError:
        return 0.0  # not counted by this system
    return int(some.rpartition("total=")[2]) / 1e6
