"""The policy of failback: when to return to a cluster of higher priority."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..._backoff import backoff
from ..options import Options
from .cluster import READY_CHECK_ASKED, ClusterRecord
from .effects import Effects

_LONGEST_WAIT = 3600.0
# How often the ready check is asked at most, seconds.
_READY_CHECK_INTERVAL = 1.0


class FailbackPolicy:
    """Says which cluster of higher priority to return to, and when. Of the controller's thread."""

    def __init__(self, options: Options, effects: Effects) -> None:
        self._after = options.failback_after
        self._has_ready_check = options.ready_check is not None
        self._interval = max(_READY_CHECK_INTERVAL, options.health_check_interval)
        self._effects = effects

    def target(self, higher: Sequence[ClusterRecord]) -> ClusterRecord | None:
        """The cluster to return to now. If there is a ready check, that is asked first."""
        now = self._effects.now()
        for record in higher:
            if now < self._due_at(record):
                if record.failback.ready_asked_at == READY_CHECK_ASKED:
                    break  # the best one may still say yes
            elif not self._has_ready_check:
                return record
            elif record.connection.link is not None:
                record.failback.ready_asked_at = READY_CHECK_ASKED
                self._effects.ask_ready(record.connection.link)
                break
        return None

    def answered(self, record: ClusterRecord) -> None:
        """The ready check has answered for a cluster."""
        record.failback.ready_asked_at = self._effects.now()

    def is_fit(self, higher: Sequence[ClusterRecord], record: ClusterRecord) -> bool:
        """Whether a cluster still is one to return to: it may have become unfit while it was asked."""
        return record in higher and self._effects.now() >= _fit_at(record, self._after)

    def due(self, higher: Sequence[ClusterRecord]) -> list[float]:
        """When ``target`` may have another answer than now, monotonic seconds."""
        due: list[float] = []
        for record in higher:
            if record.failback.ready_asked_at == READY_CHECK_ASKED:
                break
            due.append(self._due_at(record))
        return due

    def _due_at(self, record: ClusterRecord) -> float:
        fit_at = _fit_at(record, self._after)
        asked_at = record.failback.ready_asked_at
        return max(fit_at, asked_at + self._interval) if self._has_ready_check else fit_at


def required_health(relapses: int, failback_after: float) -> float:
    """Seconds for which a cluster has to be healthy without a break: every relapse doubles them, up to an hour."""
    return max(failback_after, backoff(failback_after, relapses + 1, _LONGEST_WAIT))


def _fit_at(record: ClusterRecord, failback_after: float) -> float:
    since = record.failback.healthy_since
    if record.connection.link is None or since is None or record.health.impaired:
        return math.inf
    return since + required_health(record.failback.relapses, failback_after)
