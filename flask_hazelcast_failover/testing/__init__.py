"""Real Hazelcast clusters on this machine, for development and for tests."""

from flask_hazelcast_failover.testing._cluster import LocalCluster, start_together
from flask_hazelcast_failover.testing._errors import (
    JarNotFoundError,
    JavaNotFoundError,
    LocalClusterError,
    MemberStartError,
)
from flask_hazelcast_failover.testing._member import Member, MemberState
from flask_hazelcast_failover.testing._ports import free_port

__all__ = [
    "JarNotFoundError",
    "JavaNotFoundError",
    "LocalCluster",
    "LocalClusterError",
    "Member",
    "MemberStartError",
    "MemberState",
    "free_port",
    "start_together",
]
