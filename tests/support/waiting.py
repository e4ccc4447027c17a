"""Waiting for a condition, up to a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.fair_time import fair_time

Value = TypeVar("Value")

# Seconds between two looks: a part of the time waited so far, since some conditions query a server.
_SHORTEST_PAUSE, _LONGEST_PAUSE, _PAUSE_PART = 0.01, 0.25, 0.05


def eventually(condition: Callable[[], Value], within: float = 5.0, message: str = "") -> Value:
    """Return the value of `condition` as soon as it is true. An AssertionError in it counts as false.

    within: fair seconds after which the test fails, with `message`, the last value and the last AssertionError.
    """
    began = fair_time()
    while True:
        value: object = None
        reason: AssertionError | None = None
        try:
            if found := condition():
                return found
            value = found
        except AssertionError as error:
            reason = error
        waited = fair_time() - began
        if waited > within:
            what = message or getattr(condition, "__name__", "the condition")
            last = f"the last error was {reason}" if reason is not None else f"the last value was {value!r}"
            raise AssertionError(f"not within {within:g} s: {what}; {last}") from reason
        time.sleep(min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, waited * _PAUSE_PART)))


def takes_less(seconds: float, act: Callable[[], object]) -> bool:
    """Whether at least one of three runs takes less than that: the machine may be busy during one."""
    for _ in range(3):
        began = fair_time()
        act()
        if fair_time() - began < seconds:
            return True
    return False
