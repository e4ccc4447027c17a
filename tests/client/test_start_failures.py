"""Starts that fail: waiting calls fail with them, no thread stays, and they can be repeated."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.calls import BackgroundCall
from tests.support.clients import client_threads
from tests.support.relay import Relay
from tests.support.waiting import eventually


@contextmanager
def silent_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_failed_start_leaves_no_thread_and_can_be_repeated(
    start_cluster: Callable[..., LocalCluster],
) -> None:
    blue = start_cluster("blue")
    config = FailoverConfig(try_count=2)
    config.add_cluster("blue", blue.addresses)
    config.add_cluster("green", [f"127.0.0.1:{free_port()}"])
    blue.kill()
    client = HazelcastClient(config, retry_delay=0.01)
    events: list[object] = []
    client.subscribe(events.append)
    client.lifecycle_service.add_listener(events.append)
    for _ in range(2):
        with pytest.raises(ClientOfflineException, match=r"blue.*refused.*green.*refused"):
            client.start()
        assert client_threads() == [] and events
        assert client.status().state == "idle"
        assert all("refused" in (cluster.last_error or "") for cluster in client.status().clusters)
    blue.restart()
    worker = client.status().worker
    with client.start():
        assert client.status().current_cluster == "blue" and client.status().worker == worker
        assert client.status().clusters[0].last_error is None
        assert client.get_map("start").blocking().size() == 0
    assert client_threads() == []


def test_a_reset_during_a_failing_start_fails_with_it() -> None:
    with silent_server() as address:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [address])
        client = HazelcastClient(config, connect_timeout=0.5)
        for call in (BackgroundCall(client.start), BackgroundCall(client.reset)):
            assert isinstance(call.wait().error, ClientOfflineException), call.error
            assert "timed out" in str(call.error)


def test_a_start_that_times_out_leaves_no_thread(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [silent.address])
        client = HazelcastClient(config, connect_timeout=0.3)
        with pytest.raises(ClientOfflineException, match="timed out"):
            client.start()
        eventually(lambda: client_threads() == [])


def test_operations_during_a_failing_start_fail_with_it() -> None:
    with silent_server() as address:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [address])
        client = HazelcastClient(config, connect_timeout=0.5, wait_timeout=60.0)
        starting = BackgroundCall(client.start)
        eventually(lambda: client.status().state == "switching")
        calls = [BackgroundCall(lambda: client.get_map("any").blocking().size()) for _ in range(4)]
        for call in (starting, *calls):
            assert isinstance(call.wait().error, ClientOfflineException), call.error
        client.shutdown()


def test_after_a_failed_first_use_the_client_keeps_trying(start_cluster: Callable[..., LocalCluster]) -> None:
    blue = start_cluster("blue")
    blue.kill()
    config = FailoverConfig(try_count=1)
    config.add_cluster("blue", blue.addresses)
    client = HazelcastClient(config)
    users: Any = client.get_map("first-use").blocking()
    with pytest.raises(ClientOfflineException, match="refused"):
        users.size()
    assert client.status().state == "offline"
    with pytest.raises(ClientOfflineException):  # does not end the client's attempts
        client.start()
    assert client.status().state == "offline"
    blue.restart()
    eventually(lambda: client.status().state == "connected")
    assert users.size() == 0
    client.shutdown()


def test_a_cluster_that_was_skipped_has_the_reason(green: LocalCluster) -> None:
    """A start on the second cluster has the error of the first, though its attempt has not ended."""
    with silent_server() as blue:
        failover = FailoverConfig()
        failover.add_cluster("blue", [blue])
        failover.add_cluster("green", green.addresses)
        with HazelcastClient(failover, connect_timeout=0.5) as client:
            status = client.status()
            assert status.current_cluster == "green"
            assert status.clusters[0].last_error
