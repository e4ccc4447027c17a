"""Starts that fail: all who wait fail with them, no thread stays, and they can be made again."""

import socket
import threading
import time
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
def socket_that_is_silent() -> Iterator[str]:
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
    heard: list[object] = []
    client.subscribe(heard.append)
    client.lifecycle_service.add_listener(heard.append)
    for _ in range(2):
        with pytest.raises(ClientOfflineException, match=r"blue.*refused.*green.*refused"):
            client.start()
        assert client_threads() == [] and heard
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
    with socket_that_is_silent() as address:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [address])
        client = HazelcastClient(config, connect_timeout=0.5)
        starting, wishing = BackgroundCall(client.start), BackgroundCall(client.reset)
        for outcome in (starting, wishing):
            assert isinstance(outcome.wait().error, ClientOfflineException), outcome.error
            assert "timed out" in str(outcome.error)


def test_a_start_that_times_out_leaves_no_thread(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as silent:
        silent.freeze()
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [silent.address])
        client = HazelcastClient(config, connect_timeout=0.3)
        with pytest.raises(ClientOfflineException, match="timed out"):
            client.start()
        eventually(lambda: client_threads() == [], within=1)


def test_operations_during_a_failing_start_fail_with_it() -> None:
    with socket_that_is_silent() as address:
        config = FailoverConfig(try_count=1)
        config.add_cluster("blue", [address])
        client = HazelcastClient(config, connect_timeout=0.5)
        failed: list[float] = []

        def use() -> None:
            began = time.monotonic()
            with pytest.raises(ClientOfflineException):
                client.get_map("any").blocking().size()
            failed.append(time.monotonic() - began)

        def start() -> None:
            with pytest.raises(ClientOfflineException):
                client.start()

        starting = threading.Thread(target=start)
        starting.start()
        eventually(lambda: client.status().state == "switching")
        users = [threading.Thread(target=use) for _ in range(4)]
        for thread in users:
            thread.start()
        for thread in (starting, *users):
            thread.join(5)
        assert len(failed) == 4 and max(failed) < 2
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
    with pytest.raises(ClientOfflineException):  # a start that finds it trying takes nothing away
        client.start()
    assert client.status().state == "offline"
    blue.restart()
    eventually(lambda: client.status().state == "connected")
    assert users.size() == 0
    client.shutdown()


def test_a_cluster_that_was_skipped_has_the_reason(green: LocalCluster) -> None:
    """A start that lands on the second cluster has the reason of the first, though its attempt is still under way."""
    with socket_that_is_silent() as blue:
        failover = FailoverConfig()
        failover.add_cluster("blue", [blue])
        failover.add_cluster("green", green.addresses)
        with HazelcastClient(failover, connect_timeout=0.5) as client:
            status = client.status()
            assert status.current_cluster == "green"
            assert status.clusters[0].last_error
