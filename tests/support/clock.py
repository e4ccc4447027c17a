"""Changes of the wall clock of this process, as if the clock of the machine were set."""

import itertools
import time

import pytest

HOUR = 3600.0


def set_clock(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Move the wall clock by so many seconds until the test ends."""
    before = time.time
    monkeypatch.setattr(time, "time", lambda: before() + by)


def let_clock_leap(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Move the wall clock by so many seconds each time it is read."""
    before, looks = time.time, itertools.count(1)
    monkeypatch.setattr(time, "time", lambda: before() + by * next(looks))
