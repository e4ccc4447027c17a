"""A search: which cluster to take after the start or a loss, which to connect to, when to give up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from ..options import Options, Standby
from .cluster import ClusterRecord

# How long the best of several clusters is waited for after none was there, seconds: any is better than none.
_OFFLINE_WAIT = 0.5


class ConnectOrder(Enum):
    """How a search goes through its clusters."""

    ALL_AT_ONCE = "connect to all of them at once"
    ONE_BY_ONE = "connect to the next one when the attempts at the one before are used up"


class SearchStep(NamedTuple):
    """What follows from a look at the clusters: one to take, some to begin attempts at, or the end."""

    found: ClusterRecord | None
    connect: Sequence[ClusterRecord]
    is_over: bool


@dataclass(frozen=True)
class Search:
    """A search for a cluster.

    :param order: indexes of the clusters, best first
    :param tries: attempts at each of them
    :param wait: seconds from its first attempt for which a better cluster holds up a worse one that is connected
    :param connect_order: how to go through them
    """

    order: tuple[int, ...]
    tries: int
    wait: float
    connect_order: ConnectOrder

    @classmethod
    def thorough(cls, order: Sequence[ClusterRecord], tries: int, options: Options) -> Search:
        """The search after the start or a loss, in which every cluster gets all its attempts."""
        is_hot = options.standby is Standby.HOT
        connect_order = ConnectOrder.ALL_AT_ONCE if is_hot else ConnectOrder.ONE_BY_ONE
        return cls(_indexes(order), tries, options.connect_timeout, connect_order)

    @classmethod
    def quick(cls, order: Sequence[ClusterRecord], options: Options) -> Search:
        """The search when one cluster is connected again after none was."""
        wait = min(options.connect_timeout, _OFFLINE_WAIT)
        return cls(_indexes(order), 1, wait, ConnectOrder.ALL_AT_ONCE)

    def step(self, records: Sequence[ClusterRecord], slow: Collection[int], now: float) -> SearchStep:
        """Decide with what is known now.

        :param slow: indexes of the clusters that are being prepared beside others
        """
        connect: list[ClusterRecord] = []
        is_held_up = False
        for record in (records[index] for index in self.order if index not in slow):
            attempts = record.attempts
            if record.link is not None:
                return SearchStep(None if is_held_up else record, connect, is_over=False)
            if attempts.failed >= self.tries:
                continue
            if attempts.number is None and (attempts.due_at is None or attempts.due_at <= now):
                connect.append(record)
            if self.connect_order is ConnectOrder.ONE_BY_ONE:
                return SearchStep(None, connect, is_over=False)
            is_held_up = is_held_up or now < (now if attempts.began is None else attempts.began) + self.wait
        is_over = not slow and not any(self.may_connect(record) for record in records)
        return SearchStep(None, connect, is_over)

    def better_than(self, taken: ClusterRecord, records: Sequence[ClusterRecord]) -> list[ClusterRecord]:
        """The clusters before the one that is taken that are not connected."""
        if taken.index not in self.order:
            return []
        better = self.order[: self.order.index(taken.index)]
        return [records[index] for index in better if records[index].link is None]

    def preferring(self, index: int) -> Search:
        """The same search with one of its clusters as the best."""
        return replace(self, order=(index, *(other for other in self.order if other != index)))

    def may_connect(self, record: ClusterRecord) -> bool:
        """Whether attempts at a cluster are left."""
        return record.index in self.order and record.link is None and record.attempts.failed < self.tries

    def wait_ends(self, records: Sequence[ClusterRecord]) -> list[float]:
        """When a worse cluster need not wait for each of the better ones any longer, monotonic seconds."""
        begun = [(record, record.attempts.began) for record in records]
        return [
            began + self.wait for record, began in begun if began is not None and self.may_connect(record)
        ]


def _indexes(order: Sequence[ClusterRecord]) -> tuple[int, ...]:
    return tuple(record.index for record in order)
