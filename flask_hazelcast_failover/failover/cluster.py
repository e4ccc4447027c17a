"""ClusterConfig: one cluster of a FailoverConfig."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .._arguments import (
    checked_bool,
    checked_count,
    checked_label,
    checked_name,
    checked_port,
    checked_seconds,
    describe_value,
)
from .._client_options import check_client_options
from ._addresses import parsed_addresses
from .resolver import CNAMEResolver, checked_dns_name

__all__ = ["ClusterConfig", "DnsSource"]


@dataclasses.dataclass(frozen=True)
class DnsSource:
    """A DNS name whose addresses are a cluster's members.

    :param dns_name: the name to look up
    :param port: the port of every member
    :param refresh_interval: seconds until the name is looked up again
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
    """One cluster: its names, the addresses of its members and the options of its clients. Immutable.

    :param label: its unique name in messages, in ``status()`` and for ``switch_to``
    :param cluster_name: the name that its members are configured with
    :param addresses: ``"host:port"`` of its members; none if ``dns`` is given
    :param dns: the DNS name that resolves to them
    :param priority: 0 is the highest
    :param known_members: whether to try the members that were last known, too; ``False`` behind a load balancer
    :param client_options: options of its official client
    :raises TypeError: for an argument of the wrong type
    :raises ValueError: for a bad value or an unknown client option
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
        checked_label("label", self.label)
        checked_count("priority", self.priority, least=0)
        checked_bool("known_members", self.known_members)
        if self.dns is None:
            object.__setattr__(self, "addresses", parsed_addresses("addresses", self.addresses))
        elif not isinstance(self.dns, DnsSource):
            raise TypeError(f"dns must be a DnsSource or None, got {describe_value(self.dns)}")
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
        """Return a new resolver of its DNS name.

        :raises ValueError: if its addresses do not come from DNS
        """
        if self.dns is None:
            raise ValueError(f"cluster {self.label!r} has fixed addresses and no DNS name")
        return CNAMEResolver(self.dns.dns_name, self.dns.port, self.dns.refresh_interval)

    def __copy__(self) -> ClusterConfig:
        return self

    def __deepcopy__(self, memo: object) -> ClusterConfig:
        return self

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], ClusterConfig], tuple[dict[str, Any]]]:
        # A mappingproxy cannot be pickled.
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _restored, ({**fields, "client_options": dict(self.client_options)},)


def _restored(fields: dict[str, Any]) -> ClusterConfig:
    return ClusterConfig(**fields)
