"""Real Hazelcast clusters on this machine, for development and for tests."""

from ._cluster import LocalCluster, start_together
from ._errors import JarNotFoundError, JavaNotFoundError, LocalClusterError, MemberStartError
from ._member import Member, MemberState
from ._ports import free_port

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
