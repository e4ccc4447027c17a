"""The futures that callers hold: each is completed, even if the callback that had to do it was interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from hazelcast.future import Future


class Outstanding(NamedTuple):
    """A future that a caller holds, and what it waits for."""

    of_caller: Future[Any]
    answer: Future[Any]
    complete: Callable[[], object]


class OutstandingFutures:
    """Callers' futures that are not done yet. Each method is one atomic step of a dict, but for the last one.

    An exception that arrives in a callback, on whichever thread that runs, is logged by the official future and
    swallowed. So the health monitor looks from time to time for answers that have come and not gone on.
    """

    def __init__(self) -> None:
        self._futures: dict[int, Outstanding] = {}
        self._next_number = itertools.count(1).__next__
        # The numbers whose answer had come when the health monitor last looked; of its thread.
        self._answered: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, of_caller: Future[Any], answer: Future[Any], complete: Callable[[], object]) -> int:
        """Add a caller's future; returns its number.

        :param answer: when this is done, so is ``of_caller`` a moment later
        :param complete: does that; may be called although it was done before
        """
        number = self._next_number()
        self._futures[number] = Outstanding(of_caller, answer, complete)
        return number

    def remove(self, number: int) -> None:
        """Remove a future that is done or waits for something else now."""
        self._futures.pop(number, None)

    def complete_interrupted(self) -> None:
        """Complete those whose answer had come by the last call of this. For the health monitor's thread."""
        answered = frozenset(number for number, one in self._futures.copy().items() if one.answer.done())
        for number in answered & self._answered:
            one = self._futures.pop(number, None)
            if one is not None and not one.of_caller.done():
                one.complete()
        self._answered = answered
