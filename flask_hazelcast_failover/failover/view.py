"""FailoverView: the read-only side of a FailoverConfig."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from .._arguments import describe_value
from ..errors import ClientOfflineException
from .client_config import ClientConfig, ConfigSource, build_config
from .cluster import ClusterConfig
from .resolver import CNAMEResolver

__all__ = ["FailoverView", "Position"]


class Position(NamedTuple):
    """The clusters in order of priority, and the current index: ``len(clusters)`` past the last one."""

    clusters: tuple[ClusterConfig, ...]
    current: int


class FailoverView(ABC):
    """The read-only side of a FailoverConfig. Subclasses hold the state."""

    def __init__(self) -> None:
        self._resolvers: dict[str, CNAMEResolver] = {}  # by label; only added to, with setdefault

    @abstractmethod
    def _read(self) -> Position:
        """Return the clusters and the current index of one moment."""

    @property
    @abstractmethod
    def try_count(self) -> int:
        """Connection attempts per cluster before switching."""

    @property
    def clusters(self) -> tuple[ClusterConfig, ...]:
        """Every cluster in order of priority."""
        return self._read().clusters

    @property
    def labels(self) -> tuple[str, ...]:
        """Every cluster's label in order of priority."""
        return tuple(cluster.label for cluster in self.clusters)

    @property
    def cluster_count(self) -> int:
        """How many clusters there are."""
        return len(self.clusters)

    @property
    def current_cluster_index(self) -> int:
        """Index of the current cluster; ``cluster_count`` past the last one."""
        return self._read().current

    def get_current_cluster(self) -> ClusterConfig:
        """Return the current cluster.

        :raises ClientOfflineException: past the last cluster, and if there is none at all
        """
        clusters, index = self._read()
        if index < len(clusters):
            return clusters[index]
        if not clusters:
            raise ClientOfflineException(
                "there is no cluster: add one with add_cluster() or add_cname_cluster()"
            )
        raise ClientOfflineException(self._none_left())

    def to_client_config(self, index: int) -> ClientConfig:
        """Return a configuration for one cluster.

        A DNS name is resolved at once. A client with this configuration continues to resolve it, unless
        ``cluster_members`` is changed before.

        :param index: in order of priority
        :raises TypeError: if the index is no int
        :raises ValueError: if there is no cluster with that index
        :raises ClientOfflineException: if a DNS cluster's name has no addresses
        """
        clusters = self.clusters
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"index must be an int, got {describe_value(index)}")
        if not 0 <= index < len(clusters):
            valid = f"from 0 to {len(clusters) - 1}" if clusters else "of a cluster, and none was added"
            raise ValueError(f"index must be {valid}, got {describe_value(index)}")
        cluster = clusters[index]
        addresses = tuple(self._resolver(cluster).resolve()) if cluster.is_dns else cluster.addresses
        config = build_config(cluster, {}, addresses)
        config.try_count = self.try_count
        config._source = ConfigSource(cluster, addresses)
        return config

    def _none_left(self) -> str:
        """The error past the last cluster."""
        return f"no cluster is left after {', '.join(self.labels)}: reset() goes back to the first"

    def __repr__(self) -> str:
        clusters, index = self._read()
        names = ", ".join(cluster.label for cluster in clusters)
        current = clusters[index].label if index < len(clusters) else None
        return f"<{type(self).__name__} clusters=[{names}] current={current!r} try_count={self.try_count}>"

    def _resolver(self, cluster: ClusterConfig) -> CNAMEResolver:
        known = self._resolvers.get(cluster.label)
        return known or self._resolvers.setdefault(cluster.label, cluster.new_resolver())
