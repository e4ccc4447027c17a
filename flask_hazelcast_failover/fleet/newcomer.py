"""Where a process that starts goes first: what its fleet has left on the clusters tells."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from flask_hazelcast_failover.fleet.boards import Reading
from flask_hazelcast_failover.fleet.records import WorkerRecord

__all__ = ["Newcomer", "word_of"]

# How long a cluster that knows nothing of the fleet waits for the others' word, seconds. A cluster that
# has just come back knows nothing, while the fleet is elsewhere.
_PATIENCE = 0.3


class Newcomer:
    """What the clusters say to a process that connects for the first time, each on a thread of its own.

    :param clusters: how many are asked at the same time
    """

    def __init__(self, clusters: int) -> None:
        self._clusters = clusters
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
            if word is None:
                self._changed.wait_for(self._has_heard_enough, _PATIENCE)
            return word or self._best()

    def _has_heard_enough(self) -> bool:
        return len(self._words) >= self._clusters or self._best() is not None

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
