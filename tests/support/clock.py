"""The wall clock of this process, set as somebody may set a machine's."""

import itertools
import time

import pytest

HOUR = 3600.0


def set_clock(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Set the wall clock by so many seconds, from now on until the test ends."""
    before = time.time
    monkeypatch.setattr(time, "time", lambda: before() + by)


def let_clock_leap(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Set the wall clock by so many seconds at every look at it."""
    before, looks = time.time, itertools.count(1)
    monkeypatch.setattr(time, "time", lambda: before() + by * next(looks))
