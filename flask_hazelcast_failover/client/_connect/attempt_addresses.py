"""The addresses of one attempt: those that are configured, and those at which the cluster's members were last known."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from hazelcast.core import AddressHelper

from flask_hazelcast_failover.client._known_cluster import KnownCluster

__all__ = ["AttemptAddresses", "KnownMembers"]

# So many addresses are asked in one attempt, and so many of them may be of members that are only known.
_MOST, _MOST_KNOWN = 64, 16


class KnownMembers(Enum):
    """When members are asked that are known and not configured."""

    AT_ONCE = "together with the configured addresses"
    LAST = "when none of the configured addresses works"


@dataclass(frozen=True)
class AttemptAddresses:
    """Where members may be, ``"host:port"``.

    ``named``: as configured. ``further``: the further ports of hosts that were configured without one. ``known``: only
    known from the last connection to ``cluster``.
    """

    named: frozenset[str]
    further: frozenset[str]
    known: frozenset[str] = frozenset()
    cluster: KnownCluster | None = None

    @classmethod
    def of(cls, configured: Sequence[str], cluster: KnownCluster | None = None) -> AttemptAddresses:
        """The addresses of an attempt, so many of them by chance as one attempt may ask.

        :param configured: ``"host:port"`` or ``"host"``
        :param cluster: what was last known of the cluster
        """
        named, further = set[str](), set[str]()
        for address in configured:
            primary, secondary = AddressHelper.get_possible_addresses(address)
            named.update(f"{found.host}:{found.port}" for found in primary)
            further.update(f"{found.host}:{found.port}" for found in secondary)
        found = cls(frozenset(named), frozenset(further - named))
        if cluster is None or cluster.id is None:
            return found._limited(_MOST)
        known = _chosen(cluster.addresses - found.named - found.further, _MOST_KNOWN)
        return replace(found._limited(_MOST - len(known)), known=frozenset(known), cluster=cluster)

    @property
    def configured(self) -> list[str]:
        """The configured ones in an order of chance: many clients should not all begin with the same member."""
        return _chosen(self.named | self.further, _MOST)

    def _limited(self, most: int) -> AttemptAddresses:
        named = frozenset(_chosen(self.named, most))
        further = frozenset(_chosen(self.further, most - len(named)))
        return replace(self, named=named, further=further)


def _chosen(addresses: Iterable[str], most: int) -> list[str]:
    shuffled = list(addresses)
    random.SystemRandom().shuffle(shuffled)
    return shuffled[:most]
