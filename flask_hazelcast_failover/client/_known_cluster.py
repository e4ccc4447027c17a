"""What was last known of a cluster, so that it is found again when what is configured leads nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from flask_hazelcast_failover.client._identity import ClientIdentity

__all__ = ["KnownCluster"]


@dataclass(frozen=True)
class KnownCluster:
    """A cluster as a link last saw it.

    ``id``: of the cluster; it is another one once all members were restarted. ``addresses``: where its members were,
    ``"host:port"``. ``identity``: by what they know this client.
    """

    id: UUID | None
    addresses: frozenset[str]
    identity: ClientIdentity | None = None
