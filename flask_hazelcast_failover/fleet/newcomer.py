"""Where a process that starts goes first: what its fleet has left on the clusters tells."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from flask_hazelcast_failover.fleet.boards import Reading
from flask_hazelcast_failover.fleet.records import WorkerRecord

__all__ = ["Newcomer", "word_of"]

# How long a cluster that knows nothing of the fleet waits for the others' word, seconds. A cluster that
# has just come back knows nothing, while the fleet is elsewhere.
_PATIENCE = 1.0
# How often it is looked meanwhile whether they can say one, seconds.
_PACE = 0.05


class Newcomer:
    """What the clusters say to a process that connects for the first time, each on a thread of its own.

    :param clusters: labels of those that are asked at the same time
    :param out_of_reach: labels of those that cannot be connected to, and so say nothing
    """

    def __init__(self, clusters: Iterable[str], out_of_reach: Callable[[], Collection[str]]) -> None:
        self._clusters = frozenset(clusters)
        self._out_of_reach = out_of_reach
        self._changed = threading.Condition()
        self._words: dict[str, str | None] = {}  # label -> where it sends us, if anywhere; under _changed

    def hear(self, label: str, word: str | None) -> str | None:
        """Take one cluster's word in, and give the best that is known.

        :param label: of that cluster
        :param word: the label of the cluster to go to; ``None`` if it knows nothing of the fleet
        """
        with self._changed:
            self._words[label] = word
            self._changed.notify_all()
        end = time.monotonic() + _PATIENCE
        while True:
            silent = self._out_of_reach()
            with self._changed:
                best = word or self._best()
                left = end - time.monotonic()
                if best is not None or self._clusters <= {*self._words, *silent} or left <= 0:
                    return best
                self._changed.wait(min(left, _PACE))

    def _best(self) -> str | None:
        return next((word for word in self._words.values() if word is not None), None)


def word_of(reading: Reading, *, trusts_the_past: bool) -> str | None:
    """Where what is on one cluster sends a newcomer.

    :param trusts_the_past: whether what processes wanted that are gone holds
    """
    if reading.desired is None or not (trusts_the_past or reading.records):
        return None
    wanted = reading.desired.fleet
    # What nobody asked for follows the majority, which may have moved just now.
    return wanted.label if wanted.is_asked_for else _place_of_most(reading.records) or wanted.label


def _place_of_most(workers: Sequence[WorkerRecord]) -> str | None:
    places = Counter(record.current_cluster for record in workers)
    return next((place for place, count in places.items() if 2 * count > len(workers)), None)
