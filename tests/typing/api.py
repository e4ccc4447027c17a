"""What a type checker sees of the public names. Checked by mypy and pyright, run by nobody."""

from __future__ import annotations

from typing import Any

from flask import Flask
from hazelcast.core import MemberInfo
from hazelcast.cp import CPSubsystem
from hazelcast.future import Future
from hazelcast.proxy.cp.fenced_lock import BlockingFencedLock
from hazelcast.proxy.map import BlockingMap, Map
from hazelcast.sql import SqlResult, SqlService
from hazelcast.transaction import Transaction
from hazelcast.vector import IndexConfig, Metric
from typing_extensions import assert_type

from flask_hazelcast_failover import (
    ClientConfig,
    CNAMEResolver,
    FailoverConfig,
    HazelcastClient,
    HazelcastFailover,
)
from flask_hazelcast_failover.client.status import ClientStatus, ClusterStatus
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache

app = Flask("shop")
ext = HazelcastFailover(app)
assert_type(ext.client, HazelcastClient)

clusters = FailoverConfig(try_count=1)
clusters.add_cluster("blue", ["blue-1:5701"], priority=0, label="primary")
clusters.add_cname_cluster("green", "green.internal", port=5701, refresh_interval=30.0)
assert_type(clusters.to_client_config(0), ClientConfig)
assert_type(clusters.current_cluster_index, int)
assert_type(CNAMEResolver("green.internal").resolve(), list[str])

with HazelcastClient(clusters, try_count=2, standby="cold") as client:
    assert_type(client, HazelcastClient)
    assert_type(client.status(), ClientStatus)
    assert_type(client.status().clusters, tuple[ClusterStatus, ...])
    stock: Map[str, int] = client.get_map("stock")
    assert_type(stock.blocking(), BlockingMap[str, int])
    assert_type(stock.size(), Future[int])
    with client.same_cluster():
        stock.put("bolts", 3)
    # The rest is as in the official client, also where a method of ours is behind it.
    assert_type(client.name, str)
    assert_type(client.sql, SqlService)
    assert_type(client.sql.execute("SELECT 1"), Future[SqlResult])
    assert_type(client.cp_subsystem, CPSubsystem)
    assert_type(client.cp_subsystem.get_lock("l").blocking(), BlockingFencedLock)
    assert_type(client.cluster_service.get_members(), list[MemberInfo])
    assert_type(client.partition_service.get_partition_count(), int)
    assert_type(client.lifecycle_service.is_running(), bool)
    assert_type(client.new_transaction(), Transaction)
    assert_type(client.add_distributed_object_listener(print), Future[str])
    assert_type(client.remove_distributed_object_listener("id"), Future[bool])
    index = IndexConfig(name="i", metric=Metric.COSINE, dimension=2)
    client.create_vector_collection_config("vectors", indexes=[index], backup_count=1)
    client.create_vector_collection_config("vectors", [index], backups=1)  # type: ignore[call-arg]  # pyright: ignore

cache: HazelcastCache = HazelcastCache(client)
hit: Any = cache.get("key")
