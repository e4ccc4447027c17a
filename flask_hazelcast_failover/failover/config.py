"""FailoverConfig: the clusters in order of priority, and which one is current."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from hazelcast.config import Config

from .._arguments import checked_count
from .._threads import reset_in_child
from .client_config import DEFAULT_TRY_COUNT, ParsedConfig, parse_config
from .cluster import ClusterConfig, DnsSource
from .view import FailoverView, Position

__all__ = ["FailoverConfig"]


class FailoverConfig(FailoverView):
    """The clusters that a client may use, in order of priority, and which one is current. Thread-safe.

    The current index is 0 until the first switch. After that, a cluster added in front of the current one
    increases it, so that the current cluster stays the same.

    :param try_count: connection attempts per cluster before switching, 1 or more
    :raises TypeError: if ``try_count`` is no int
    :raises ValueError: if ``try_count`` is less than 1
    """

    def __init__(self, try_count: int = DEFAULT_TRY_COUNT) -> None:
        super().__init__()
        self._try_count = checked_count("try_count", try_count, least=1)
        self._position = Position((), 0)  # replaced as a whole under _lock; read without it
        self._init_lock()
        reset_in_child(self, FailoverConfig._init_lock)

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

        :param cluster_name: the name that its members are configured with
        :param addresses: ``"host:port"`` of at least one member; a host without a port stands for the ports 5701 to
            5703
        :param priority: 0 is the highest; ``None`` comes after the last. Equal priorities keep the order of adding
        :param label: its unique name in messages and in ``status()``; ``cluster_name`` by default
        :param known_members: whether to try the members that were last known, too, if no configured address can be
            reached; ``False`` behind a load balancer
        :param client_options: options of its official client, such as ``ssl_enabled``
        :raises TypeError: for an argument of the wrong type
        :raises ValueError: for a bad value, a label that is taken, or an unknown client option
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
        """Add a cluster whose members a DNS name resolves to. It is not looked up yet.

        :param cluster_name: the name that its members are configured with
        :param dns_name: the name to look up
        :param port: the port of every member
        :param priority: 0 is the highest; ``None`` comes after the last. Equal priorities keep the order of adding
        :param refresh_interval: seconds until the name is looked up again
        :param label: its unique name in messages and in ``status()``; ``cluster_name`` by default
        :param known_members: whether to try the members that were last known, too, if no configured address can be
            reached; ``False`` behind a load balancer
        :param client_options: options of its official client, such as ``ssl_enabled``
        :raises TypeError: for an argument of the wrong type
        :raises ValueError: for a bad value, a label that is taken, or an unknown client option
        """
        source = DnsSource(dns_name, port, refresh_interval)
        self._add(cluster_name, label, priority, client_options, known_members=known_members, dns=source)

    @classmethod
    def from_configs(cls, configs: Iterable[Config], try_count: int = DEFAULT_TRY_COUNT) -> FailoverConfig:
        """Return the clusters of several configurations, the first with the highest priority.

        Clusters of the same name get the labels ``name``, ``name-2`` and so on. Options that this client
        decides itself are ignored, with one warning for each configuration.

        :param configs: ``ClientConfig`` or official ``Config`` objects, at least one
        :param try_count: connection attempts per cluster; overrides that of each configuration
        :raises TypeError: if an item is no configuration
        :raises ValueError: if there is none, or one holds a bad value
        """
        if isinstance(configs, (str, bytes, dict)) or not isinstance(configs, Iterable):
            raise TypeError(f"configs must be a list of ClientConfig objects, got a {type(configs).__name__}")
        failover = cls(try_count)
        for config in configs:
            failover._add_parsed(parse_config(config))
        if not failover.cluster_count:
            raise ValueError("configs must hold at least one ClientConfig, got none")
        return failover

    @classmethod
    def from_client_config(cls, config: Config) -> FailoverConfig:
        """Return the one cluster of a configuration, with that configuration's own ``try_count``.

        A configuration that ``to_client_config`` made for a DNS cluster becomes that DNS cluster again, unless
        its ``cluster_members`` were changed since.

        :raises TypeError: if it is no configuration
        :raises ValueError: if it holds a bad value
        """
        parsed = parse_config(config)
        failover = cls(parsed.try_count)
        failover._add_parsed(parsed)
        return failover

    @classmethod
    def copied_from(cls, config: FailoverConfig | Config, try_count: int | None = None) -> FailoverConfig:
        """Return a client's own copy of its configuration, at the first cluster.

        :param try_count: connection attempts per cluster; ``None``: as configured
        :raises TypeError: if it is neither a ``FailoverConfig`` nor a configuration
        :raises ValueError: if it has no cluster, or holds a bad value
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
        """Go to the next cluster and return it; ``None`` past the last one."""
        with self._lock:
            clusters, index = self._position
            index = min(index + 1, len(clusters))
            self._position = Position(clusters, index)
        return clusters[index] if index < len(clusters) else None

    def reset(self) -> None:
        """Go back to the cluster with the highest priority."""
        with self._lock:
            self._position = Position(self._position.clusters, 0)

    def _init_lock(self) -> None:
        self._lock = threading.Lock()

    def copy(self) -> FailoverConfig:
        """Return an independent copy."""
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

    def _add_parsed(self, parsed: ParsedConfig) -> None:
        source = parsed.source.cluster if parsed.source else None
        name = source.label if source and source.cluster_name == parsed.cluster_name else parsed.cluster_name
        label, number = name, 1
        while label in self.labels:
            number += 1
            label = f"{name}-{number}"
        dns = source.dns if source else None
        self._add(
            parsed.cluster_name,
            label,
            None,
            parsed.client_options,
            known_members=source.known_members if source else True,
            addresses=() if dns else parsed.members,
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
            # sorted() is stable: equal priorities keep the order of adding.
            ordered = tuple(sorted((*clusters, cluster), key=lambda each: each.priority))
            if ordered.index(cluster) < index:
                index += 1
            self._position = Position(ordered, index)
