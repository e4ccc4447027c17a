"""A clock for upper bounds: it does not run on at full speed while the machine is short of cores.

A bound says how long something may take that has a machine. Several test files run at a time, with clusters and
servers of their own, and what waits for its turn is not slow.
"""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["fair_time"]

# The Linux kernel's count of the time in which something was ready to run and had no core.
_PRESSURE = Path("/proc/pressure/cpu")
# What part of such a time is not counted: bounds are up to three times as wide.
_FORGIVEN = 2 / 3


def fair_time() -> float:
    """Monotonic seconds, less two thirds of those in which something on this machine waited for a core."""
    return time.monotonic() - _FORGIVEN * _seconds_short_of_cores()


def _seconds_short_of_cores() -> float:
    try:
        some = _PRESSURE.read_text().splitlines()[0]
    except OSError:
        return 0.0  # a system that does not count it
    return int(some.rpartition("total=")[2]) / 1e6
