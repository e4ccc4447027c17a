"""What is told of the controller's decisions: events to subscribers, switches to the history."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord, LinkView
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client.events import (
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Reason,
)
from flask_hazelcast_failover.client.status import Switch

__all__ = ["EventPublisher"]

_HISTORY = 100


class EventPublisher:
    """Tells everything once and in order. Of the controller's thread.

    :param records: the clusters in order of priority
    :param world: announces events
    """

    def __init__(self, records: Sequence[ClusterRecord], world: Effects) -> None:
        self.history: deque[Switch] = deque(maxlen=_HISTORY)
        self._records = records
        self._world = world
        self._exhausted_at: float | None = None  # since when nothing is reachable

    def lost(self, record: ClusterRecord, was_active: bool, reason: Reason) -> None:
        """A link is gone."""
        if record.announced:
            self._world.announce(ClusterLost(record.label, was_active, reason), record.last_error or "")

    def exhausted(self) -> None:
        """No cluster can be reached; told once until one can."""
        if self._exhausted_at is None:
            self._exhausted_at = self._world.now()
            self._world.announce(ClustersExhausted(self._errors()))

    def why_offline(self) -> str:
        """Why no cluster can be reached."""
        reasons = ", ".join(f"{label} ({why})" for label, why in self._errors().items())
        return f"no cluster can be reached: {reasons}"

    def switched(self, switch: ClusterSwitched) -> None:
        """Operations are about to go to another cluster."""
        self.history.append(Switch.of(switch))

    def arrived(self, record: ClusterRecord, active: LinkView, switch: ClusterSwitched | None) -> None:
        """Operations go to a cluster; a switch unless it is the first one or the same again."""
        if self._exhausted_at is not None and record.lost_at is None:
            record.lost_at = self._exhausted_at  # it was never there before
        self._exhausted_at = None
        self.connected(record, active)
        if switch is not None:
            why = ""
            if switch.reason is Reason.FAILBACK and record.fit_since is not None:
                why = f"{record.label} was healthy for {self._world.now() - record.fit_since:.1f} s"
            self._world.announce(switch, why)
        for other in self._records:
            self.connected(other, active)

    def connected(self, record: ClusterRecord, active: LinkView | None) -> None:
        """A cluster can be used."""
        if record.link is None or record.announced:
            return
        record.announced = True
        self._world.announce(ClusterConnected(record.label, record.link is active))
        if record.lost_at is not None:
            downtime = self._world.now() - record.lost_at
            record.lost_at = None
            self._world.announce(ClusterRecovered(record.label, downtime))

    def _errors(self) -> dict[str, str]:
        return {record.label: record.last_error or "not connected" for record in self._records}
