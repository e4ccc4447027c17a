"""One cluster of a FailoverConfig: its names, where its members are, how its clients are configured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from flask_hazelcast_failover._arguments import (
    checked_bool,
    checked_count,
    checked_name,
    checked_port,
    checked_seconds,
    given,
)
from flask_hazelcast_failover._client_options import check_client_options
from flask_hazelcast_failover.failover._addresses import parsed_addresses
from flask_hazelcast_failover.failover.resolver import CNAMEResolver, checked_dns_name

__all__ = ["ClusterConfig", "DnsSource"]


@dataclasses.dataclass(frozen=True)
class DnsSource:
    """A DNS name whose addresses are a cluster's members.

    Args:
        dns_name: the name to look up.
        port: the port of every member.
        refresh_interval: seconds for which an answer is good.
    """

    dns_name: str
    port: int = 5701
    refresh_interval: float = 60.0

    def __post_init__(self) -> None:
        checked_dns_name(self.dns_name)
        checked_port("port", self.port)
        checked_seconds("refresh_interval", self.refresh_interval)


@dataclasses.dataclass(frozen=True)
class ClusterConfig:
    """One cluster. A value: it never changes.

    Args:
        label: what it is called in messages, in ``status()`` and by ``switch_to``.
        cluster_name: the name that its members carry.
        addresses: ``"host:port"`` of its members; none if ``dns`` says where they are.
        dns: the DNS name to find them by.
        priority: 0 is the highest.
        known_members: whether it is also looked for at the members that it was last known to have; not where
            a load balancer stands before them.
        client_options: options of its official client.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a bad value or an unknown client option.
    """

    label: str
    cluster_name: str
    addresses: tuple[str, ...] = ()
    dns: DnsSource | None = None
    priority: int = 0
    known_members: bool = True
    client_options: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        checked_name("cluster_name", self.cluster_name)
        checked_name("label", self.label)
        checked_count("priority", self.priority, least=0)
        checked_bool("known_members", self.known_members)
        if self.dns is None:
            object.__setattr__(self, "addresses", parsed_addresses("addresses", self.addresses))
        elif not isinstance(self.dns, DnsSource):
            raise TypeError(f"dns must be a DnsSource or None, got {given(self.dns)}")
        elif self.addresses:
            raise ValueError(f"cluster {self.label!r}: give addresses or a DNS name, not both")
        options = check_client_options(
            self.client_options, f"cluster {self.label!r}", ["label", "priority", "known_members"]
        )
        object.__setattr__(self, "client_options", MappingProxyType(options))

    @property
    def is_dns(self) -> bool:
        """Whether its addresses come from DNS."""
        return self.dns is not None

    def new_resolver(self) -> CNAMEResolver:
        """Return a resolver of its own for its DNS name.

        Raises:
            ValueError: if its addresses do not come from DNS.
        """
        if self.dns is None:
            raise ValueError(f"cluster {self.label!r} has fixed addresses and no DNS name")
        return CNAMEResolver(self.dns.dns_name, self.dns.port, self.dns.refresh_interval)

    def __copy__(self) -> ClusterConfig:
        return self

    def __deepcopy__(self, memo: object) -> ClusterConfig:
        return self

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], ClusterConfig], tuple[dict[str, Any]]]:
        # A mapping proxy cannot be pickled.
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _restored, ({**fields, "client_options": dict(self.client_options)},)


def _restored(fields: dict[str, Any]) -> ClusterConfig:
    return ClusterConfig(**fields)
