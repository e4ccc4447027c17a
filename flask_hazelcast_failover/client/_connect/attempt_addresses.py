"""The addresses of one attempt: the configured ones, and those of the members at the last connection."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from hazelcast.core import AddressHelper

from .._known_cluster import KnownCluster

MAX_ADDRESSES = 64
"""How many addresses one attempt probes, each on a thread, those together that the names among them lead to."""
# How many of them may be known only.
_MAX_KNOWN = 16


class KnownMembers(Enum):
    """When an attempt probes members that are known and not configured."""

    AT_ONCE = "together with the configured addresses"
    LAST = "when none of the configured addresses works"


@dataclass(frozen=True)
class AttemptAddresses:
    """Where members may be, ``"host:port"``.

    ``named``: as configured. ``further``: further ports of hosts that are configured without one. ``known``: known only,
    from the last connection to ``cluster``. ``left_out``: how many more there are, which this attempt does not probe.
    """

    named: frozenset[str]
    further: frozenset[str]
    known: frozenset[str] = frozenset()
    cluster: KnownCluster | None = None
    left_out: int = 0

    @classmethod
    def of(cls, configured: Sequence[str], cluster: KnownCluster | None = None) -> AttemptAddresses:
        """The addresses of an attempt, chosen at random if there are too many.

        :param configured: ``"host:port"`` or ``"host"``
        :param cluster: what was last known of the cluster
        """
        named, further = set[str](), set[str]()
        for address in configured:
            primary, secondary = AddressHelper.get_possible_addresses(address)
            named.update(f"{one.host}:{one.port}" for one in primary)
            further.update(f"{one.host}:{one.port}" for one in secondary)
        addresses = cls(frozenset(named), frozenset(further - named))
        if cluster is None or cluster.id is None:
            return addresses._limited(MAX_ADDRESSES)
        known = sample(cluster.addresses - addresses.named - addresses.further, _MAX_KNOWN)
        return replace(
            addresses._limited(MAX_ADDRESSES - len(known)), known=frozenset(known), cluster=cluster
        )

    @property
    def configured(self) -> list[str]:
        """The configured addresses in random order, so that not all clients start with the same member."""
        return sample(self.named | self.further, MAX_ADDRESSES)

    def _limited(self, count: int) -> AttemptAddresses:
        named = frozenset(sample(self.named, count))
        further = frozenset(sample(self.further, count - len(named)))
        left_out = len(self.named) + len(self.further) - len(named) - len(further)
        return replace(self, named=named, further=further, left_out=left_out)


def sample(addresses: Iterable[str], count: int) -> list[str]:
    """So many of the addresses in random order, all if there are no more."""
    shuffled = list(addresses)
    random.SystemRandom().shuffle(shuffled)
    return shuffled[:count]
