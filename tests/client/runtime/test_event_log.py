"""The log for operators: one line for each decision, with the figures it was made on, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.waiting import eventually


def test_a_failover_and_a_failback_log_one_line_for_each_decision(
    pair: tuple[LocalCluster, LocalCluster], caplog: pytest.LogCaptureFixture
) -> None:
    blue, green = pair
    clusters = FailoverConfig()
    for cluster in pair:
        clusters.add_cluster(cluster.name, cluster.addresses)
    options: dict[str, Any] = {"health_check_interval": 0.1, "health_check_timeout": 1.0}
    with HazelcastClient(clusters, failback="auto", failback_after=0.5, **options) as client:
        eventually(lambda: client.status().clusters[1].state == "standby")
        blue.freeze()
        eventually(lambda: client.status().current_cluster == "green")
        for _ in range(200):
            client.get_map("event-log").blocking().size()
        blue.thaw()
        eventually(lambda: client.status().current_cluster == "blue", within=15)
        green.kill()
        eventually(lambda: client.status().clusters[1].state == "down")
    logged = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("flask_hazelcast_failover") and record.levelname != "INFO"
    ]
    lost, switched, recovered, failed_back, standby = logged
    assert lost == "lost blue (active): 1 of 1 members failed 5 health checks"
    assert (
        switched.startswith("switched from blue to green after ") and "ms: health-check (epoch 2)" in switched
    )
    assert recovered.startswith("blue is back after ")
    assert (
        failed_back.startswith("switched from green to blue after ")
        and ": failback, blue was healthy for " in failed_back
    )
    assert standby == "lost green (standby): the connection was lost"
