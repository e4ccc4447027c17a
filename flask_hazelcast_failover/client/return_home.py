"""Two slower decisions of the keeper: when a cluster is fit to return to, and where a name leads now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flask_hazelcast_failover.client.cluster import ClusterRecord, KeptLink
from flask_hazelcast_failover.client.events import AddressesChanged
from flask_hazelcast_failover.client.happenings import Resolved

if TYPE_CHECKING:
    from flask_hazelcast_failover.client.world import World

__all__ = ["failback_target", "fitness_wait", "forgive", "has_moved", "renew_addresses"]

_LONGEST_WAIT = 3600.0
# Answers running of a name that leads elsewhere, until the client believes it.
_STRANGERS = 2


def fitness_wait(record: ClusterRecord, failback_after: float) -> float:
    """How long a cluster has to be healthy without a break: every relapse doubles it, up to an hour."""
    if failback_after >= _LONGEST_WAIT:
        return failback_after
    return min(_LONGEST_WAIT, failback_after * 2.0 ** min(record.relapses, 64))


def failback_target(
    higher: Sequence[ClusterRecord], failback_after: float, now: float
) -> ClusterRecord | None:
    """The first of the clusters of higher priority that is fit to return to."""
    for record in higher:
        if record.link is None or record.fit_since is None or record.impaired:
            continue
        if now - record.fit_since >= fitness_wait(record, failback_after):
            return record
    return None


def forgive(record: ClusterRecord, now: float) -> None:
    """Forget the relapses of a cluster that was healthy for an hour before it was lost."""
    if record.fit_since is not None and now - record.fit_since >= _LONGEST_WAIT:
        record.relapses = 0
        record.returned = False


def renew_addresses(record: ClusterRecord, event: Resolved, world: World) -> None:
    """Take in what DNS said of a cluster."""
    if record.config.dns is not None:
        record.resolve_at = world.now() + record.config.dns.refresh_interval
    record.dns_error = event.error
    before, record.addresses = record.addresses, event.addresses or record.addresses
    if before and set(record.addresses) != set(before):
        world.announce(AddressesChanged(record.label, before, record.addresses))
    if record.link is None or event.error is not None:
        return
    if set(record.addresses) <= record.link.member_addresses():
        record.strangers = 0  # the same cluster's members, in whatever order
    else:
        world.scout(record.index)


def has_moved(record: ClusterRecord, scout: KeptLink) -> bool:
    """Whether a cluster's name has led to members of another cluster twice running."""
    if record.link is not None and scout.members() & record.link.members():
        record.strangers = 0
    else:
        record.strangers += 1
    return record.strangers >= _STRANGERS
