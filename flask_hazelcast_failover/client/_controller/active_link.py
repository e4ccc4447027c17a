"""Where operations go: the active link, and the switches under way that will change it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..events import ClusterSwitched, Reason
from .cluster import ClusterRecord
from .effects import LinkView
from .messages import SwitchRequest

# After so long in a search other clusters are tried as well, seconds.
_SLOW_AFTER = 30.0


class ActiveLink:
    """The link that operations use, or why they wait. Of the controller's thread."""

    def __init__(self) -> None:
        self.link: LinkView | None = None
        self.cluster: ClusterRecord | None = None  # the one that operations used last
        self.epoch = 0
        self._data_id = self._visit_id = 0  # of the link that operations used last
        self._suspended: tuple[Reason, float] | None = None  # why and since when operations wait

    @property
    def loss(self) -> Reason:
        """Why a search is needed."""
        return self._suspended[0] if self._suspended else Reason.CONNECTION_LOST

    @property
    def suspended_at(self) -> float | None:
        """Since when operations wait, monotonic seconds; ``None`` if they do not."""
        return self._suspended[1] if self._suspended else None

    def suspend(self, reason: Reason, since: float) -> None:
        """Operations have nowhere to go, ``since`` then (monotonic seconds)."""
        self.link = None
        self._suspended = reason, since

    def enter(self, switch: PendingSwitch, now: float) -> ClusterSwitched | None:
        """Operations go to the link of a switch; the event, unless it is the first link or the same cluster's again."""
        record, link, previous = switch.record, switch.link, self.cluster
        if switch.replacing is not None:
            record.replaced(link, now)
        reason, since = switch.reason, switch.since
        if self._suspended is not None:  # operations have waited, for a reason of its own
            reason, since = (reason if switch.request else self._suspended[0]), self._suspended[1]
        self.epoch += 1
        if previous is not record or link.data_id != self._data_id:
            self._visit_id += 1
        self._data_id = link.data_id
        link.epoch, link.visit_id = self.epoch, self._visit_id
        if previous is not None and previous is not record:
            previous.connection.leave()
        record.connection.enter()
        self.link, self.cluster, self._suspended = link, record, None
        if previous is None or (previous is record and switch.replacing is None):
            return None
        return ClusterSwitched(previous.label, record.label, reason, now - since, self.epoch)

    def higher(self, records: Sequence[ClusterRecord]) -> Sequence[ClusterRecord]:
        """The clusters of higher priority than the one that operations used last."""
        return records[: self.cluster.index] if self.cluster is not None else ()


@dataclass(frozen=True)
class PendingSwitch:
    """A link that is being prepared to be the active one.

    ``since``: when that began, monotonic seconds. ``request``: the one that it carries out. ``replacing``: the link to
    the same cluster's former members, when its name leads to others.
    """

    link: LinkView
    record: ClusterRecord
    reason: Reason
    since: float
    request: SwitchRequest | None = None
    replacing: LinkView | None = None


class PendingSwitches:
    """The switches under way. Of the controller's thread.

    One at a time, unless it takes so long that others are tried beside it: then the first that is ready counts.
    """

    def __init__(self) -> None:
        self.current: PendingSwitch | None = None
        self._slow: list[PendingSwitch] = []

    def __bool__(self) -> bool:
        return self.current is not None or bool(self._slow)

    def all(self) -> list[PendingSwitch]:
        """Every switch under way, the slow ones first."""
        return [*self._slow, *([self.current] if self.current else [])]

    def to(self, link: LinkView) -> PendingSwitch | None:
        """The switch to a link."""
        return next((switch for switch in self.all() if switch.link is link), None)

    def slow_clusters(self) -> frozenset[int]:
        """The indexes of the clusters that are tried no more, since they are being prepared beside others."""
        return frozenset(switch.record.index for switch in self._slow)

    def slow_at(self) -> float:
        """When the current switch is slow, monotonic seconds."""
        return math.inf if self.current is None else self.current.since + _SLOW_AFTER

    def set_aside(self) -> None:
        """Go on with the current switch beside others."""
        if self.current is not None:
            self._slow.append(self.current)
            self.current = None

    def end(self, switch: PendingSwitch) -> None:
        """A switch has ended, whatever came of it."""
        if switch is self.current:
            self.current = None
        else:
            self._slow.remove(switch)
