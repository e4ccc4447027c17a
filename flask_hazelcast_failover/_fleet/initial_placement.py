"""Where a process that starts goes first: what its fleet has left on the clusters tells."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from flask_hazelcast_failover._fleet.records import WorkerRecord
from flask_hazelcast_failover._fleet.store import StoreSnapshot

__all__ = ["InitialPlacement", "preferred_label"]

# How long a cluster that knows nothing of the fleet waits for the others' word, seconds. A cluster that
# has just come back knows nothing, while the fleet is elsewhere. The first figure is for those that an
# attempt has failed at already, the second, at most, for those that are being connected to.
_LITTLE_PATIENCE, _PATIENCE = 0.3, 1.0
# How often it is looked meanwhile which of the two they are, seconds.
_PACE = 0.05


class InitialPlacement:
    """What the clusters say to a process that connects for the first time, each on a thread of its own.

    :param clusters: labels of those that are asked at the same time
    :param unlikely: labels of those that an attempt has failed at
    :param longest: seconds that may be waited for a word at most
    """

    def __init__(
        self, clusters: Iterable[str], unlikely: Callable[[], Collection[str]], longest: float
    ) -> None:
        self._clusters = frozenset(clusters)
        self._unlikely = unlikely
        self._patience = max(_LITTLE_PATIENCE, min(_PATIENCE, longest))
        self._changed = threading.Condition()
        self._words: dict[str, str | None] = {}  # label -> where it sends us, if anywhere; under _changed

    def hear(self, label: str, word: str | None) -> str | None:
        """Take one cluster's word in, and give the best that is known.

        :param label: of that cluster
        :param word: the label of the cluster to go to; ``None`` if it knows nothing of the fleet, or cannot say
        """
        with self._changed:
            self._words[label] = word
            self._changed.notify_all()
        began = time.monotonic()
        while True:
            unlikely = self._unlikely()
            with self._changed:
                best, missing = word or self._best(), self._clusters - self._words.keys()
                patience = _LITTLE_PATIENCE if missing <= set(unlikely) else self._patience
                left = began + patience - time.monotonic()
                if best is not None or not missing or left <= 0:
                    return best
                self._changed.wait(min(left, _PACE))

    def _best(self) -> str | None:
        return next((word for word in self._words.values() if word is not None), None)


def preferred_label(reading: StoreSnapshot, *, trusts_the_past: bool) -> str | None:
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
