"""Waiting for what will be true soon, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.fair_time import fair_time

Value = TypeVar("Value")

# Between two looks: at first, at most, and what part of the time that was waited already. Some looks ask a whole server.
_FIRST_PAUSE, _LONGEST_PAUSE, _PART = 0.01, 0.25, 0.05


def eventually(condition: Callable[[], Value], within: float = 5.0, message: str = "") -> Value:
    """Return what `condition` returns as soon as that is true. An AssertionError in it counts as not yet.

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
            last = f"it said {reason}" if reason is not None else f"the last value was {value!r}"
            raise AssertionError(f"not within {within:g} s: {what}; {last}") from reason
        time.sleep(min(_LONGEST_PAUSE, max(_FIRST_PAUSE, waited * _PART)))


def takes_less(seconds: float, act: Callable[[], object]) -> bool:
    """Whether something takes less than that, at least once in three times: the machine may have other things to do."""
    for _ in range(3):
        began = fair_time()
        act()
        if fair_time() - began < seconds:
            return True
    return False
