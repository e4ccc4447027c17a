"""The publisher of events: announces the controller's decisions, each once and in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..._foreign_text import listed
from ..events import (
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Reason,
)
from ..status import Switch
from .cluster import ClusterRecord
from .effects import Effects, LinkView

_HISTORY = 100
# The length of all clusters' errors in one message, in characters.
_MAX_REASONS = 2000


class EventPublisher:
    """Says which events there are, and keeps the history of switches. Of the controller's thread."""

    def __init__(self, records: Sequence[ClusterRecord], effects: Effects) -> None:
        self.history: deque[Switch] = deque(maxlen=_HISTORY)
        self._records = records
        self._effects = effects
        self._exhausted_at: float | None = None  # since when no cluster can be reached, monotonic seconds

    def lost(self, record: ClusterRecord, was_active: bool, reason: Reason) -> None:
        """The link to a cluster is gone."""
        if record.outage.announced:
            self._effects.announce(ClusterLost(record.label, was_active, reason), record.last_error or "")

    def exhausted(self) -> None:
        """No cluster can be reached; announced once until one can."""
        if self._exhausted_at is None:
            self._exhausted_at = self._effects.now()
            self._effects.announce(ClustersExhausted(self._errors()))

    def why_offline(self) -> str:
        """Why no cluster can be reached."""
        reasons = listed([f"{label} ({why})" for label, why in self._errors().items()], limit=_MAX_REASONS)
        return f"no cluster can be reached: {reasons}"

    def switched(self, switch: ClusterSwitched) -> None:
        """Operations are about to go to another cluster."""
        self.history.append(Switch.of(switch))

    def published(self, record: ClusterRecord, active: LinkView, switch: ClusterSwitched | None) -> None:
        """Operations go to a cluster; a switch unless it is the first one or the same again."""
        if self._exhausted_at is not None and record.outage.since is None:
            record.outage.since = self._exhausted_at  # it was never connected before
        self._exhausted_at = None
        self.connected(record, active)
        if switch is not None:
            why, since = "", record.failback.healthy_since
            if switch.reason is Reason.FAILBACK and since is not None:
                why = f"{record.label} was healthy for {self._effects.now() - since:.1f} s"
            self._effects.announce(switch, why)
        for other in self._records:
            self.connected(other, active)

    def connected(self, record: ClusterRecord, active: LinkView | None) -> None:
        """A cluster can be used."""
        outage = record.outage
        if record.link is None or outage.announced:
            return
        outage.announced = True
        self._effects.announce(ClusterConnected(record.label, record.link is active))
        if outage.since is not None:
            downtime = self._effects.now() - outage.since
            outage.since = None
            self._effects.announce(ClusterRecovered(record.label, downtime))

    def _errors(self) -> dict[str, str]:
        return {record.label: record.last_error or "not connected" for record in self._records}
