"""The configuration of the clusters: their order, their addresses and their client options."""

from flask_hazelcast_failover.failover.client_config import ClientConfig
from flask_hazelcast_failover.failover.cluster import ClusterConfig
from flask_hazelcast_failover.failover.config import FailoverConfig
from flask_hazelcast_failover.failover.resolver import CNAMEResolver

__all__ = ["CNAMEResolver", "ClientConfig", "ClusterConfig", "FailoverConfig"]
