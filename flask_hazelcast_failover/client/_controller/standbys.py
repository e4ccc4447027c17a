"""Standbys: which links stay open besides the active one, and how a link is drained and closed."""

from __future__ import annotations

from collections.abc import Sequence

from ..options import Failback, Options, Standby
from ..status import ClientStatus
from .cluster import ClusterRecord
from .effects import Effects, LinkView
from .messages import Drained


class Standbys:
    """Closes every link that is of no use any more, once. Of the controller's thread."""

    def __init__(self, records: Sequence[ClusterRecord], options: Options, effects: Effects) -> None:
        self._records = records
        self._is_hot = options.standby is Standby.HOT
        self._fails_back = options.failback is Failback.AUTO
        self._effects = effects
        self._draining: set[LinkView] = set()  # left, and not closed nor used again since

    def record_of(self, link: LinkView) -> ClusterRecord | None:
        """The cluster whose link this is."""
        return next((record for record in self._records if record.link is link), None)

    def is_kept(self, record: ClusterRecord, current: ClusterRecord | None) -> bool:
        """Whether a link that no operation uses stays open.

        :param current: the cluster that operations go to
        """
        is_higher = current is not None and record.index < current.index
        return self._is_hot or (is_higher and self._fails_back)

    def is_draining(self, link: LinkView) -> bool:
        """Whether operations on a link that was left may be in flight."""
        return link in self._draining

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        """Send operations to a link, and show that."""
        self._draining.discard(link)
        self._effects.publish(link, status)

    def drain(self, link: LinkView) -> None:
        """Let the operations on a link finish that no new ones go to."""
        self._draining.add(link)
        self._effects.drain(link)

    def drained(self, message: Drained, current: ClusterRecord | None, prepared: Sequence[LinkView]) -> None:
        """Keep a link that was left as a standby, unless something still is in flight on it.

        :param prepared: the links that are being prepared to be the active one
        """
        link = message.link
        if link not in self._draining or link.epoch != message.epoch:
            return  # closed, or the active one again since
        self._draining.discard(link)
        if link in prepared:
            return
        record = self.record_of(link)
        if record is None:
            self.close(link)
        elif message.operations or not self.is_kept(record, current):
            self.close_cluster(record)

    def close_unused(self, current: ClusterRecord) -> None:
        """Close the links that a search has opened and not taken, unless they may stand by."""
        for record in self._records:
            if record is current or record.link is None or record.link in self._draining:
                continue
            if not self.is_kept(record, current):
                self.close_cluster(record)

    def close_cluster(self, record: ClusterRecord) -> None:
        """Close a cluster's link on purpose."""
        link = record.link
        record.closed()
        if link is not None:
            self.close(link)

    def close(self, link: LinkView) -> None:
        """End the operations on a link and close it."""
        self._draining.discard(link)
        self._effects.close(link)
