"""Waiting for official futures with an end, which they do not offer themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hazelcast.future import Future

__all__ = ["Answers", "Cancelled"]

# How often whoever waits for answers looks whether they are still wanted, seconds.
_PACE = 0.1


class Cancelled(Exception):
    """What was waited for is not wanted any more."""


class Answers:
    """Many answers that are waited for as long as one comes after the other, however many there are.

    Asked and waited for by one thread.

    :param silence: how long none may come, seconds
    :param is_wanted: whether somebody still wants them; asked often
    """

    def __init__(self, silence: float, is_wanted: Callable[[], bool]) -> None:
        self._silence = silence
        self._is_wanted = is_wanted
        self._changed = threading.Condition()
        self._open = 0  # under _changed
        self._enough = 0  # how many may be open for who waits to go on; under _changed
        self._latest = time.monotonic()  # when the latest answer came; under _changed

    def expect(self, future: Future[Any]) -> None:
        """Count a future among what is waited for.

        :raises CalledOff: nobody wants it any more
        """
        if not self._is_wanted():
            raise Cancelled("it is not wanted any more")
        with self._changed:
            if not self._open:
                self._latest = time.monotonic()
            self._open += 1
        future.add_done_callback(self._came)

    def wait(self, at_most: int = 0) -> None:
        """Wait until ``at_most`` futures are not done, whatever becomes of the others.

        :raises TimeoutError: none was done for too long
        :raises CalledOff: nobody wants them any more
        """
        with self._changed:
            self._enough = at_most
        while self._is_wanted():
            with self._changed:
                if self._open <= at_most:
                    return
                left = self._latest + self._silence - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no answer for {self._silence:g} s, {self._open} are missing")
                self._changed.wait(min(left, _PACE))
        raise Cancelled("it is not wanted any more")

    def _came(self, _: Future[Any]) -> None:
        with self._changed:
            self._open -= 1
            self._latest = time.monotonic()
            if self._open <= self._enough:
                self._changed.notify()
