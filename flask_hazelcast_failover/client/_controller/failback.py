"""Two slower decisions of the controller: when a cluster is fit to return to, and where a name leads now."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client._controller.messages import AddressesVerified, Resolved
from flask_hazelcast_failover.client.events import AddressesChanged
from flask_hazelcast_failover.client.options import Options

__all__ = ["FailbackPolicy", "fitness_wait", "has_moved", "renew_addresses", "reset_relapses"]

_LONGEST_WAIT = 3600.0
# How often the ready check is asked at most, seconds.
_READY_PACE = 1.0
# How often a name is looked up whose answers are never good for any time, besides at each attempt, seconds.
_REFRESH_OF_ZERO = 1.0
# Answers running of a name that leads elsewhere, until the client believes it.
_STRANGERS = 2


class FailbackPolicy:
    """Says which cluster of higher priority to return to, and when. Of the controller's thread.

    :param options: the client's options
    :param world: runs the ready check
    """

    def __init__(self, options: Options, world: Effects) -> None:
        self._after = options.failback_after
        self._check = options.ready_check
        self._pace = max(_READY_PACE, options.health_check_interval)
        self._world = world

    def target(self, higher: Sequence[ClusterRecord], now: float) -> ClusterRecord | None:
        """The cluster to return to now. With a ready check that is asked first."""
        for record in higher:
            if now < self._due_at(record):
                if record.ready_asked_at == math.inf:
                    break  # the best one may still say yes
            elif self._check is None:
                return record
            elif record.link is not None:
                record.ready_asked_at = math.inf  # until it has answered
                self._world.ask_ready(record.link)
                break
        return None

    def is_fit(self, higher: Sequence[ClusterRecord], record: ClusterRecord) -> bool:
        """Whether to return to a cluster that is ready: not if it has become unfit meanwhile."""
        return record in higher and self._world.now() >= _fit_at(record, self._after)

    def due(self, higher: Sequence[ClusterRecord]) -> list[float]:
        """When ``target`` may have another answer than now."""
        times = [self._due_at(record) for record in higher]
        asked = [index for index, record in enumerate(higher) if record.ready_asked_at == math.inf]
        return times[: asked[0]] if asked else times

    def _due_at(self, record: ClusterRecord) -> float:
        fit_at = _fit_at(record, self._after)
        return fit_at if self._check is None else max(fit_at, record.ready_asked_at + self._pace)


def _fit_at(record: ClusterRecord, failback_after: float) -> float:
    if record.link is None or record.fit_since is None or record.impaired:
        return math.inf
    return record.fit_since + fitness_wait(record, failback_after)


def fitness_wait(record: ClusterRecord, failback_after: float) -> float:
    """How long a cluster has to be healthy without a break: every relapse doubles it, up to an hour."""
    if failback_after >= _LONGEST_WAIT:
        return failback_after
    return min(_LONGEST_WAIT, failback_after * 2.0 ** min(record.relapses, 64))


def reset_relapses(record: ClusterRecord, now: float) -> None:
    """Forget the relapses of a cluster that was healthy for an hour before it was lost."""
    if record.fit_since is not None and now - record.fit_since >= _LONGEST_WAIT:
        record.relapses = 0
        record.returned = False


def renew_addresses(record: ClusterRecord, event: Resolved, world: Effects) -> None:
    """Take in what DNS said of a cluster."""
    if record.config.dns is not None:
        record.resolve_at = world.now() + (record.config.dns.refresh_interval or _REFRESH_OF_ZERO)
    record.dns_error = event.error
    before, record.addresses = record.addresses, event.addresses or record.addresses
    if before and set(record.addresses) != set(before):
        world.announce(AddressesChanged(record.label, before, record.addresses))
    if record.link is None or event.error is not None:
        return
    if set(record.addresses) & record.link.member_addresses():
        record.strangers = 0  # some of the same cluster's members, in whatever order
        record.confirmed += 1
    else:
        world.scout(record.index, record.confirmed)


def has_moved(record: ClusterRecord, scouted: AddressesVerified) -> bool:
    """Whether a cluster's name has led to members of another cluster twice running."""
    if record.link is not None and scouted.link.members() & record.link.members():
        record.strangers = 0
    elif scouted.confirmed == record.confirmed:  # else an answer that came later has denied it
        record.strangers += 1
    return record.strangers >= _STRANGERS
