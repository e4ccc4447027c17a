"""Moves: what the controller remembers while listeners are carried to a link that is to be the active one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord, LinkView
from flask_hazelcast_failover.client._controller.messages import SwitchRequest
from flask_hazelcast_failover.client.events import Reason

__all__ = ["PendingSwitch", "PendingSwitches"]

# How long a link is made ready in a search until other clusters are tried as well, seconds.
_SLOW = 30.0


@dataclass(frozen=True)
class PendingSwitch:
    """A link on its way to be the active one.

    ``since``: when it began, monotonic seconds. ``wish``: the one that it carries out. ``replacing``:
    the link to the same cluster's former members, when its name has moved.
    """

    link: LinkView
    record: ClusterRecord
    reason: Reason
    since: float
    wish: SwitchRequest | None = None
    replacing: LinkView | None = None


class PendingSwitches:
    """The moves that are under way. Of the controller's thread.

    One at a time, unless it takes so long that others are tried beside it: then the first that is ready counts.
    """

    def __init__(self) -> None:
        self.now: PendingSwitch | None = None
        self._slow: list[PendingSwitch] = []

    def __bool__(self) -> bool:
        return self.now is not None or bool(self._slow)

    def all(self) -> list[PendingSwitch]:
        """Every move, the slow ones first."""
        return [*self._slow, *([self.now] if self.now else [])]

    def of(self, link: LinkView) -> PendingSwitch | None:
        """The move to a link."""
        return next((move for move in self.all() if move.link is link), None)

    def slow_at(self) -> float:
        """When the move of now is slow, monotonic seconds."""
        return math.inf if self.now is None else self.now.since + _SLOW

    def set_aside(self) -> None:
        """Go on with the move of now beside others."""
        if self.now is not None:
            self.now.record.is_slow = True
            self._slow.append(self.now)
            self.now = None

    def end(self, move: PendingSwitch) -> None:
        """A move has ended, whatever came of it."""
        move.record.is_slow = False
        if move is self.now:
            self.now = None
        else:
            self._slow.remove(move)
