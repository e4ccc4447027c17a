"""A near cache never serves an entry of another cluster, or of an earlier epoch."""

from typing import Any

import pytest

from flask_hazelcast_failover import ClientOfflineException
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.waiting import eventually

CACHED: dict[str, Any] = {"near_caches": {"cached": {}}}
# Members report changes every ten seconds otherwise.
AT_ONCE = {"hazelcast.map.invalidation.batch.enabled": "false"}


def test_hits_need_no_request(blue: LocalCluster) -> None:
    with client_on(blue, client_options=CACHED) as client:
        cached = client.get_map("cached")
        cached.blocking().set("k", "v")
        assert [cached.blocking().get("k") for _ in range(5)] == ["v"] * 5
        assert cached.get("k").result() == "v"
        assert cached._near_cache._hits >= 4
        assert cached.blocking()._wrapped._near_cache is cached._near_cache


def test_no_entry_of_another_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, client_options=CACHED) as client:
        cached = client.get_map("cached").blocking()
        cached.set("who", "blue")
        assert cached.get("who") == cached.get("who") == "blue"
        client.switch_to("green")
        cached.set("who", "green")
        assert cached.get("who") == cached.get("who") == "green"
        client.switch_to("blue")
        assert cached.get("who") == "blue"


def test_no_entry_of_an_earlier_epoch(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, client_options=CACHED) as client, client_on(blue) as other:
        cached = client.get_map("cached").blocking()
        cached.set("k", "old")
        for round_ in range(5):
            cached.get("k")
            assert cached.get("k") is not None
            client.switch_to("green")
            other.get_map("cached").blocking().set("k", f"new {round_}")
            client.switch_to("blue")
            assert cached.get("k") == f"new {round_}"


def test_invalidations_after_a_destroy(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", properties=AT_ONCE)
    with client_on(cluster, client_options=CACHED) as client, client_on(cluster) as other:
        cached: Any = client.get_map("cached")
        for structure in (cached, cached.blocking()):
            cached.blocking().set("k", "old")
            assert cached.blocking().get("k") == cached.blocking().get("k") == "old"
            structure.destroy()
            cached.blocking().set("k", "anew")
            assert cached.blocking().get("k") == cached.blocking().get("k") == "anew"
            other.get_map("cached").blocking().set("k", "newer")
            eventually(lambda: cached.blocking().get("k") == "newer")


def test_invalidations_after_a_loss(
    start_cluster: StartCluster,
) -> None:
    blue, green = start_cluster("blue"), start_cluster("green", properties=AT_ONCE)
    with client_on(blue, green, client_options=CACHED) as client, client_on(green) as other:
        cached: Any = client.get_map("cached").blocking()
        cached.set("k", "of blue")
        assert cached.get("k") == cached.get("k") == "of blue"
        other.get_map("cached").blocking().set("k", "of green")
        blue.kill()
        eventually(lambda: client.status().current_cluster == "green")
        assert cached.get("k") == cached.get("k") == "of green"
        other.get_map("cached").blocking().set("k", "newer")
        eventually(lambda: cached.get("k") == "newer")


def test_no_entry_from_before_a_restart(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    with client_on(
        cluster, client_options=CACHED, try_count=100, wait_timeout=30.0, health_check_interval=0
    ) as client:
        cached = client.get_map("cached").blocking()
        cached.set("k", "v")
        assert cached.get("k") == cached.get("k") == "v"
        cluster.restart()
        assert cached.get("k") is None


def test_no_entry_while_offline(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    with client_on(cluster, client_options=CACHED) as client:
        cached = client.get_map("cached").blocking()
        cached.set("k", "v")
        assert cached.get("k") == cached.get("k") == "v"
        cluster.kill()
        eventually(lambda: client.status().state == "offline")
        with pytest.raises(ClientOfflineException):
            cached.get("k")
