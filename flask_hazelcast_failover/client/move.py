"""A move: what the keeper remembers while listeners are carried to the link that is to be the active one."""

from __future__ import annotations

from dataclasses import dataclass

from flask_hazelcast_failover.client.cluster import ClusterRecord, KeptLink
from flask_hazelcast_failover.client.events import Reason
from flask_hazelcast_failover.client.happenings import Wish

__all__ = ["Move"]


@dataclass(frozen=True)
class Move:
    """A link on its way to be the active one.

    ``since``: when it began, monotonic seconds. ``wish``: the one that it carries out. ``replacing``:
    the link to the same cluster's former members, when its name has moved.
    """

    link: KeptLink
    record: ClusterRecord
    reason: Reason
    since: float
    wish: Wish | None = None
    replacing: KeptLink | None = None
