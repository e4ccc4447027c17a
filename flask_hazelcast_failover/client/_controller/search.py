"""A search: which cluster to take after the start or a loss, whom to dial, when to give up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client.options import Options, Standby

__all__ = ["ConnectOrder", "Search", "SearchStep"]


# How long the best of several clusters is waited for when any is better than none, seconds.
_OFFLINE_PATIENCE = 0.5


class ConnectOrder(Enum):
    """How a search goes through its clusters."""

    ALL_AT_ONCE = "dial all of them at once"
    ONE_BY_ONE = "dial the next one when the attempts at the one before are used up"


class SearchStep(NamedTuple):
    """What a look at the clusters came to: one to take, some to dial, or the end."""

    found: ClusterRecord | None
    dial: Sequence[ClusterRecord]
    is_over: bool


@dataclass(frozen=True)
class Search:
    """A search for a cluster.

    :param order: indexes of the clusters, best first
    :param tries: attempts at each of them
    :param patience: seconds that a better cluster holds up a worse one that is there, from the
        first attempt at it
    """

    order: tuple[int, ...]
    tries: int
    patience: float
    dialling: ConnectOrder

    @classmethod
    def thorough(cls, order: Sequence[ClusterRecord], tries: int, options: Options) -> Search:
        """The search after the start or a loss, in which every cluster gets all its attempts."""
        hot = options.standby is Standby.HOT
        dialling = ConnectOrder.ALL_AT_ONCE if hot else ConnectOrder.ONE_BY_ONE
        return cls(_indexes(order), tries, options.connect_timeout, dialling)

    @classmethod
    def quick(cls, order: Sequence[ClusterRecord], options: Options) -> Search:
        """The search when one cluster is there again after none was: any is better than none."""
        patience = min(options.connect_timeout, _OFFLINE_PATIENCE)
        return cls(_indexes(order), 1, patience, ConnectOrder.ALL_AT_ONCE)

    def look(self, records: Sequence[ClusterRecord], now: float) -> SearchStep:
        """Decide with what is known now."""
        dial: list[ClusterRecord] = []
        is_held_up = False
        for record in (records[index] for index in self.order):
            if record.is_slow:
                continue  # it is being made ready beside the others
            if record.link is not None:
                return SearchStep(None if is_held_up else record, dial, is_over=False)
            if record.tries >= self.tries:
                continue
            if record.attempt is None and (record.dial_at is None or record.dial_at <= now):
                dial.append(record)
            if self.dialling is ConnectOrder.ONE_BY_ONE:
                return SearchStep(None, dial, is_over=False)
            began = now if record.began is None else record.began
            is_held_up = is_held_up or now < began + self.patience
        is_over = not any(self.may_come(record) or record.is_slow for record in records)
        return SearchStep(None, dial, is_over)

    def passed_over(self, records: Sequence[ClusterRecord], taken: ClusterRecord) -> list[ClusterRecord]:
        """The clusters that would have been better than the one that is taken, and are not there."""
        if taken.index not in self.order:
            return []
        better = self.order[: self.order.index(taken.index)]
        return [records[index] for index in better if records[index].link is None]

    def preferring(self, index: int) -> Search:
        """The same search with one of its clusters as the best."""
        return replace(self, order=(index, *(other for other in self.order if other != index)))

    def may_come(self, record: ClusterRecord) -> bool:
        """Whether attempts at a cluster are left."""
        return record.index in self.order and record.link is None and record.tries < self.tries

    def patience_ends(self, records: Sequence[ClusterRecord]) -> list[float]:
        """When a worse cluster need not wait for each of the better ones any longer."""
        return [
            record.began + self.patience
            for record in records
            if record.began is not None and self.may_come(record)
        ]


def _indexes(order: Sequence[ClusterRecord]) -> tuple[int, ...]:
    return tuple(record.index for record in order)
