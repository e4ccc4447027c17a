"""The configuration of the clusters: their order, their addresses and their client options."""

from .client_config import ClientConfig
from .cluster import ClusterConfig
from .config import FailoverConfig
from .resolver import CNAMEResolver

__all__ = ["CNAMEResolver", "ClientConfig", "ClusterConfig", "FailoverConfig"]
