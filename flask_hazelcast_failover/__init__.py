"""A Hazelcast client for Flask that outlives its cluster."""

from flask_hazelcast_failover import signals
from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.errors import (
    ClientOfflineException,
    ClusterChanged,
    OperationOutcomeUnknown,
)
from flask_hazelcast_failover.extension import HazelcastFailover
from flask_hazelcast_failover.failover import ClientConfig, CNAMEResolver, FailoverConfig

__all__ = [
    "CNAMEResolver",
    "ClientConfig",
    "ClientOfflineException",
    "ClusterChanged",
    "FailoverConfig",
    "HazelcastClient",
    "HazelcastFailover",
    "OperationOutcomeUnknown",
    "signals",
]
