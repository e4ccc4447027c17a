"""What was last known of a cluster, to find it again when its configured addresses fail."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ._identity import ClientIdentity


@dataclass(frozen=True)
class KnownCluster:
    """A cluster as a link last saw it.

    ``id``: the cluster's; changes when all members are restarted. ``addresses``: of its members, ``"host:port"``.
    ``identity``: the one by which they know this client.
    """

    id: UUID | None
    addresses: frozenset[str]
    identity: ClientIdentity | None = None
