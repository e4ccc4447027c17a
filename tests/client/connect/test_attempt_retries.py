"""The number and the order of attempts at several clusters, and the delays between them."""

from __future__ import annotations

import time

import pytest

from flask_hazelcast_failover import ClientConfig, ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.fake_servers import Peer, hanging_up, silent, unused_address
from tests.support.waiting import eventually, takes_less

# What a busy machine may add, seconds.
LATENESS = 1.0


class TestRetries:
    @pytest.mark.parametrize("standby", ["hot", "cold"])
    def test_try_count_is_the_number_of_attempts_per_cluster(self, standby: str) -> None:
        with Peer(hanging_up) as first, Peer(hanging_up) as second:
            failover = two(first.address, second.address)
            client = HazelcastClient(failover, try_count=4, retry_delay=0.02, standby=standby)
            with pytest.raises(ClientOfflineException) as caught:
                client.start()
        assert (first.connections, second.connections) == (4, 4)
        for label in ("blue", "green"):
            assert f"{label} (" in str(caught.value)
        assert "closed by the other side" in str(caught.value)

    def test_hot_connects_to_all_at_once_and_cold_in_order(self) -> None:
        spans: dict[str, float] = {}
        for standby in ("hot", "cold"):
            with Peer(silent) as first, Peer(silent) as second:
                failover = two(first.address, second.address)
                options = {"try_count": 1, "connect_timeout": 0.3, "standby": standby}
                with pytest.raises(ClientOfflineException):
                    HazelcastClient(failover, **options).start()
            spans[standby] = second.times[0] - first.times[0]
        assert abs(spans["hot"]) < 0.15
        assert spans["cold"] > 0.25

    def test_the_delays_double_and_are_jittered(self) -> None:
        delays: list[list[float]] = []
        for _ in range(4):
            with Peer(hanging_up) as peer:
                config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": [peer.address]})
                client = HazelcastClient(config, try_count=4, retry_delay=0.1)
                with pytest.raises(ClientOfflineException):
                    client.start()
            delays.append([b - a for a, b in zip(peer.times, peer.times[1:], strict=False)])
        for each in delays:
            for delay, longest in zip(each, (0.1, 0.2, 0.4), strict=True):
                assert delay < longest + LATENESS
        assert len({round(delay, 3) for each in delays for delay in each}) > 4

    @pytest.mark.parametrize("standby", ["hot", "cold"])
    def test_all_attempts_at_a_higher_cluster_come_first(self, standby: str, green: LocalCluster) -> None:
        """A lower cluster becomes active once they have failed."""
        with Peer(hanging_up) as first:
            failover = two(first.address, green.addresses[0])
            options = {"try_count": 3, "retry_delay": 0.05, "standby": standby}
            with HazelcastClient(failover, **options) as client:
                if standby == "cold":
                    assert first.connections == 3
                assert first.connections >= 3
                status = client.status()
                assert (status.current_cluster, status.epoch, status.history) == ("green", 1, ())

    def test_a_silent_higher_cluster_delays_by_connect_timeout(self, green: LocalCluster) -> None:
        """Further attempts at it do not delay a lower cluster."""
        with Peer(silent) as first:
            failover = two(first.address, green.addresses[0])
            began = time.monotonic()
            with HazelcastClient(failover, try_count=9, connect_timeout=0.4) as client:
                took = time.monotonic() - began
                assert client.status().current_cluster == "green"
            assert 0.35 < took < 0.4 + LATENESS

    @pytest.mark.timing
    def test_a_healthy_higher_cluster_causes_no_delay(self, blue: LocalCluster, green: LocalCluster) -> None:
        def connect() -> None:
            with HazelcastClient(two(blue.addresses[0], green.addresses[0]), connect_timeout=3.0) as client:
                assert client.status().current_cluster == "blue"

        assert takes_less(0.5, connect)

    def test_the_first_connection_is_no_switch(self, green: LocalCluster) -> None:
        events: list[object] = []
        client = HazelcastClient(two(unused_address(), green.addresses[0]), try_count=1)
        client.subscribe(events.append)
        with client:
            eventually(lambda: events)
        assert [type(event).__name__ for event in events] == ["ClusterConnected"]
        assert (events[0].cluster, events[0].active) == ("green", True)  # type: ignore[attr-defined]
        assert client.status().epoch == 1


def two(first: str, second: str) -> FailoverConfig:
    failover = FailoverConfig()
    failover.add_cluster("blue", [first])
    failover.add_cluster("green", [second])
    return failover
