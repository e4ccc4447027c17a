"""The official client's public methods on top of this package's services."""

from __future__ import annotations

from typing import Any

from hazelcast.client import HazelcastClient as _HazelcastClient
from hazelcast.cluster import ClusterService
from hazelcast.cp import CPSubsystem, _get_object_name_for_proxy, _without_default_group_name
from hazelcast.lifecycle import LifecycleService
from hazelcast.partition import PartitionService
from hazelcast.sql import SqlService


class ClientFacade(_HazelcastClient):
    """An official client without a connection, whose services are replaced.

    The official methods only delegate to the services. So signatures, types and doc strings are the official ones,
    also those of methods that later versions add.
    """

    def __init__(
        self,
        *,
        proxies: Any,
        cp_proxies: Any,
        sql: SqlService,
        transactions: Any,
        clusters: ClusterService,
        partitions: PartitionService,
        lifecycle: LifecycleService,
        name: str,
    ) -> None:
        self._proxy_manager = proxies
        self._cp_subsystem = CPSubsystem.__new__(CPSubsystem)
        self._cp_subsystem._proxy_manager = cp_proxies
        self._sql_service = sql
        self._transaction_manager = transactions
        self._cluster_service = clusters
        self._partition_service = partitions
        self._lifecycle_service = lifecycle
        self._name = name


def proper_cp_name(name: str) -> str:
    """The name of a CP object without the default group. Raises what the official client raises for an invalid one."""
    proper: str = _without_default_group_name(name)
    _get_object_name_for_proxy(proper)
    return proper
