"""Real Hazelcast clusters on this machine, for development and for tests."""

from flask_hazelcast_failover.testing.cluster import LocalCluster, start_together
from flask_hazelcast_failover.testing.errors import (
    JarNotFoundError,
    JavaNotFoundError,
    LocalClusterError,
    MemberStartError,
)
from flask_hazelcast_failover.testing.member import Member, MemberState
from flask_hazelcast_failover.testing.ports import free_port

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
