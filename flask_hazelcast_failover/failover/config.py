"""FailoverConfig: which clusters there are, in which order, and which one is current."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from hazelcast.config import Config

from flask_hazelcast_failover._arguments import checked_count
from flask_hazelcast_failover.failover.client_config import (
    DEFAULT_TRY_COUNT,
    Taken,
    take_over,
)
from flask_hazelcast_failover.failover.cluster import ClusterConfig, DnsSource
from flask_hazelcast_failover.failover.view import FailoverView, Position

__all__ = ["FailoverConfig"]


class FailoverConfig(FailoverView):
    """The clusters that a client may use, in order of priority, and which one is current. Safe under threads.

    The current index is a position in that order. It stays 0 until the first switch; after that, a cluster
    added in front of the current one moves it on, so that the current cluster stays the same.

    Args:
        try_count: connection attempts per cluster before switching, 1 or more.

    Raises:
        TypeError: if ``try_count`` is no int.
        ValueError: if ``try_count`` is less than 1.
    """

    def __init__(self, try_count: int = DEFAULT_TRY_COUNT) -> None:
        super().__init__()
        self._try_count = checked_count("try_count", try_count, least=1)
        self._position = Position((), 0)  # replaced as a whole, by the holder of _lock; read without it
        self._lock = threading.Lock()

    @property
    def try_count(self) -> int:
        """Connection attempts per cluster before switching."""
        return self._try_count

    def add_cluster(
        self,
        cluster_name: str,
        addresses: list[str] | tuple[str, ...],
        priority: int | None = None,
        *,
        label: str | None = None,
        known_members: bool = True,
        **client_options: Any,
    ) -> None:
        """Add a cluster whose members are at fixed addresses.

        Args:
            cluster_name: the name that its members carry.
            addresses: ``"host:port"`` of some members, at least one; a host without a port stands for the
                ports 5701 to 5703; an address given twice counts once.
            priority: 0 is the highest; ``None`` comes after the last. Equals keep the order of adding.
            label: what it is called, if not by its name; unique.
            known_members: whether it is also looked for at the members that it was last known to have, when none
                that is configured can be reached. ``False`` where only a load balancer may be dialled.
            **client_options: options of its official client, such as ``ssl_enabled``.

        Raises:
            TypeError: for an argument of the wrong type.
            ValueError: for a bad value, a label that is taken, or an unknown client option.
        """
        self._add(
            cluster_name, label, priority, client_options, known_members=known_members, addresses=addresses
        )

    def add_cname_cluster(
        self,
        cluster_name: str,
        dns_name: str,
        port: int = 5701,
        priority: int | None = None,
        refresh_interval: float = 60.0,
        *,
        label: str | None = None,
        known_members: bool = True,
        **client_options: Any,
    ) -> None:
        """Add a cluster whose members are found by a DNS name, which is not looked up yet.

        Args:
            cluster_name: the name that its members carry.
            dns_name: the name to look up.
            port: the port of every member.
            priority: 0 is the highest; ``None`` comes after the last. Equals keep the order of adding.
            refresh_interval: seconds for which an answer of DNS is good.
            label: what it is called, if not by its name; unique.
            known_members: whether it is also looked for at the members that it was last known to have, when none
                that is configured can be reached. ``False`` where only a load balancer may be dialled.
            **client_options: options of its official client, such as ``ssl_enabled``.

        Raises:
            TypeError: for an argument of the wrong type.
            ValueError: for a bad value, a label that is taken, or an unknown client option.
        """
        source = DnsSource(dns_name, port, refresh_interval)
        self._add(cluster_name, label, priority, client_options, known_members=known_members, dns=source)

    @classmethod
    def from_configs(cls, configs: Iterable[Config], try_count: int = DEFAULT_TRY_COUNT) -> FailoverConfig:
        """Return the clusters of several configurations, the first with the highest priority.

        Clusters of the same name get the labels ``name``, ``name-2`` and so on. Options that this client
        decides itself are passed over, with one warning for each configuration.

        Args:
            configs: ``ClientConfig`` or official ``Config`` objects, at least one.
            try_count: connection attempts per cluster; wins over what each configuration says.

        Raises:
            TypeError: if an item is no configuration.
            ValueError: if there is none, or one holds a bad value.
        """
        if isinstance(configs, (str, bytes, dict)) or not isinstance(configs, Iterable):
            raise TypeError(f"configs must be a list of ClientConfig objects, got a {type(configs).__name__}")
        failover = cls(try_count)
        for config in configs:
            failover._add_taken(take_over(config))
        if not failover.cluster_count:
            raise ValueError("configs must hold at least one ClientConfig, got none")
        return failover

    @classmethod
    def from_client_config(cls, config: Config) -> FailoverConfig:
        """Return the one cluster of a configuration, with that configuration's own ``try_count``.

        What ``to_client_config`` made of a DNS cluster becomes that DNS cluster again, unless its
        ``cluster_members`` were changed since.

        Raises:
            TypeError: if it is no configuration.
            ValueError: if it holds a bad value.
        """
        taken = take_over(config)
        failover = cls(taken.try_count)
        failover._add_taken(taken)
        return failover

    @classmethod
    def copied_from(cls, config: FailoverConfig | Config, try_count: int | None = None) -> FailoverConfig:
        """Return what a client keeps of its configuration: the same clusters, at the first of them.

        Args:
            config: the clusters.
            try_count: connection attempts per cluster, if others than the configuration says.

        Raises:
            TypeError: if it is neither a ``FailoverConfig`` nor a configuration.
            ValueError: if it has no cluster, or holds a bad value.
        """
        if isinstance(config, Config):
            clusters = cls.from_client_config(config)
        elif not isinstance(config, FailoverConfig):
            raise TypeError(f"config must be a FailoverConfig or a ClientConfig, not {type(config).__name__}")
        else:
            clusters = config.copy()
        if not clusters.cluster_count:
            raise ValueError("config has no cluster: add one with add_cluster() or add_cname_cluster()")
        clusters.reset()
        if try_count is not None:
            clusters._try_count = try_count
        return clusters

    def switch_to_next_cluster(self) -> ClusterConfig | None:
        """Step to the next cluster and return it; ``None`` past the last one, where it stays."""
        with self._lock:
            clusters, index = self._position
            index = min(index + 1, len(clusters))
            self._position = Position(clusters, index)
        return clusters[index] if index < len(clusters) else None

    def reset(self) -> None:
        """Go back to the cluster with the highest priority."""
        with self._lock:
            self._position = Position(self._position.clusters, 0)

    def copy(self) -> FailoverConfig:
        """Return a configuration with the same clusters at the same position, and a state of its own."""
        duplicate = type(self).__new__(type(self))
        duplicate.__setstate__(self.__getstate__())
        return duplicate

    def __copy__(self) -> FailoverConfig:
        return self.copy()

    def __deepcopy__(self, memo: object) -> FailoverConfig:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "try_count": self._try_count,
            "clusters": self._position.clusters,
            "index": self._position.current,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        FailoverConfig.__init__(self, state["try_count"])
        self._position = Position(state["clusters"], state["index"])

    def _read(self) -> Position:
        return self._position

    def _add_taken(self, taken: Taken) -> None:
        origin = taken.origin.cluster if taken.origin else None
        wanted = origin.label if origin and origin.cluster_name == taken.cluster_name else taken.cluster_name
        label, number = wanted, 1
        while label in self.labels:
            number += 1
            label = f"{wanted}-{number}"
        dns = origin.dns if origin else None
        addresses = () if dns else taken.members
        known_members = origin.known_members if origin else True
        self._add(
            taken.cluster_name,
            label,
            None,
            taken.client_options,
            known_members=known_members,
            addresses=addresses,
            dns=dns,
        )

    def _add(
        self,
        cluster_name: str,
        label: str | None,
        priority: int | None,
        client_options: dict[str, Any],
        *,
        known_members: bool = True,
        addresses: list[str] | tuple[str, ...] = (),
        dns: DnsSource | None = None,
    ) -> None:
        with self._lock:
            clusters, index = self._position
            if priority is None:
                priority = max((cluster.priority for cluster in clusters), default=-1) + 1
            cluster = ClusterConfig(
                label=cluster_name if label is None else label,
                cluster_name=cluster_name,
                addresses=addresses,  # type: ignore[arg-type]  # checked and made a tuple there
                dns=dns,
                priority=priority,
                known_members=known_members,
                client_options=client_options,
            )
            if cluster.label in self.labels:
                raise ValueError(
                    f"label {cluster.label!r} is taken by another cluster; give this one a label= of its own"
                )
            # Sorting is stable, so that equals keep the order of adding.
            ordered = tuple(sorted((*clusters, cluster), key=lambda each: each.priority))
            if ordered.index(cluster) < index:
                index += 1
            self._position = Position(ordered, index)
