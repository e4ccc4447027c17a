"""Where a worker that starts connects first: the fleet's records on the clusters decide."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from .._threads import Notifier
from .cluster_store import StoreSnapshot
from .records import WorkerRecord

# How long a cluster without records of the fleet waits for the others' reports, seconds: it may have just been
# restarted while the fleet is elsewhere. The first figure if the others are down, the second, at most, if they are
# still being connected to.
_TIMEOUT_IF_DOWN, _TIMEOUT = 0.3, 1.0
# How often it is checked meanwhile whether they are down, seconds.
_POLL_INTERVAL = 0.05


class InitialPlacement:
    """Collects what each cluster reports while a client connects for the first time, each on a thread of its own.

    :param clusters: labels of those that are connected to at the same time
    :param down: gives the labels of those to which an attempt has failed
    :param longest: seconds to wait for a report, at most
    """

    def __init__(self, clusters: Iterable[str], down: Callable[[], Collection[str]], longest: float) -> None:
        self._clusters = frozenset(clusters)
        self._down = down
        self._timeout = max(_TIMEOUT_IF_DOWN, min(_TIMEOUT, longest))
        self._changes = Notifier()
        self._reports: dict[
            str, str | None
        ] = {}  # label -> preferred label; single steps of a dict by any thread

    def report(self, label: str, preferred: str | None) -> str | None:
        """Add one cluster's report; return the best label that is reported in time, if any.

        :param label: of the reporting cluster
        :param preferred: label of the cluster to use; ``None`` if it has no records of the fleet, or did not answer
        """
        self._reports[label] = preferred
        self._changes.notify()
        began = time.monotonic()
        while True:
            down = self._down()
            reports = dict(self._reports)
            best = preferred or next((label for label in reports.values() if label is not None), None)
            missing = self._clusters - reports.keys()
            timeout = _TIMEOUT_IF_DOWN if missing <= set(down) else self._timeout
            left = began + timeout - time.monotonic()
            if best is not None or not missing or left <= 0:
                return best
            self._changes.wait_for(partial(self._has_more_than, len(reports)), min(left, _POLL_INTERVAL))

    def _has_more_than(self, count: int) -> bool:
        return len(self._reports) > count


def preferred_label(snapshot: StoreSnapshot, *, trusts_past: bool) -> str | None:
    """Where one cluster's records send a worker that starts.

    :param trusts_past: whether to obey the desired state of workers that have all gone
    """
    if snapshot.desired is None or not (trusts_past or snapshot.records):
        return None
    order = snapshot.desired.fleet
    # An order that binds nobody follows the majority, which may have moved just now.
    return order.label if order.is_binding else _majority(snapshot.records) or order.label


def _majority(workers: Sequence[WorkerRecord]) -> str | None:
    places = Counter(record.current_cluster for record in workers)
    return next((place for place, count in places.items() if 2 * count > len(workers)), None)
