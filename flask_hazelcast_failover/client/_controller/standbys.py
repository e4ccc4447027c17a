"""Standbys: which links stay open besides the active one, and how a link is left and closed."""

from __future__ import annotations

from collections.abc import Sequence

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord, LinkView
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client._controller.messages import Drained
from flask_hazelcast_failover.client.options import Failback, Options, Standby
from flask_hazelcast_failover.client.status import ClientStatus

__all__ = ["Standbys"]


class Standbys:
    """Closes every link that is of no use any more, once. Of the controller's thread.

    :param records: the clusters in order of priority
    :param options: the client's options
    :param world: leaves and closes links
    """

    def __init__(self, records: Sequence[ClusterRecord], options: Options, world: Effects) -> None:
        self._records = records
        self._options = options
        self._world = world
        self._draining: set[LinkView] = set()  # left, and not closed nor used again since

    def record_of(self, link: LinkView) -> ClusterRecord | None:
        """The cluster that a link is kept for."""
        return next((record for record in self._records if record.link is link), None)

    def is_kept(self, record: ClusterRecord, current: ClusterRecord | None) -> bool:
        """Whether a link that no operation goes over stays open.

        :param current: where operations go
        """
        if self._options.standby is Standby.HOT:
            return True
        is_higher = current is not None and record.index < current.index
        return is_higher and self._options.failback is Failback.AUTO

    def is_draining(self, link: LinkView) -> bool:
        """Whether operations on a link that was left may be in flight."""
        return link in self._draining

    def use(self, link: LinkView, status: ClientStatus) -> None:
        """Send operations to a link, and show that."""
        self._draining.discard(link)
        self._world.publish(link, status)

    def leave(self, link: LinkView) -> None:
        """Let the operations on a link finish that no new ones go to."""
        self._draining.add(link)
        self._world.leave(link)

    def drained(self, event: Drained, current: ClusterRecord | None, coming: Sequence[LinkView]) -> None:
        """Keep a link that was left as a standby, unless something still is in flight on it.

        :param coming: the links on their way to be the active one
        """
        link = event.link
        if link not in self._draining or link.epoch != event.epoch:
            return  # closed, or the active one again since
        self._draining.discard(link)
        if link in coming:
            return
        record = self.record_of(link)
        if record is None:
            self.discard(link)
        elif event.operations or not self.is_kept(record, current):
            self.close(record)

    def close_passed_over(self, active: LinkView, current: ClusterRecord) -> None:
        """Close the links that a search found and did not take, unless they may stand by."""
        for record in self._records:
            if record.link in (None, active) or record.link in self._draining:
                continue
            if not self.is_kept(record, current):
                self.close(record)

    def close(self, record: ClusterRecord) -> None:
        """Close a cluster's link on purpose."""
        link = record.link
        record.closed()
        if link is not None:
            self.discard(link)

    def discard(self, link: LinkView) -> None:
        """End the operations on a link and close it."""
        self._draining.discard(link)
        self._world.discard(link)
