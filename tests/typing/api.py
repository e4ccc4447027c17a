"""What a type checker sees of the public names. Checked by mypy and pyright, run by nobody."""

from __future__ import annotations

from typing import Any

from flask import Flask
from hazelcast.future import Future
from hazelcast.proxy.map import BlockingMap, Map
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

cache: HazelcastCache = HazelcastCache(client)
hit: Any = cache.get("key")
