"""Shutting a client down: from any thread, in time, and with nothing left behind."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.clients import client_on, client_threads
from tests.support.fair_time import fair_time
from tests.support.waiting import eventually


def absent_client(**options: object) -> HazelcastClient:
    config = FailoverConfig(try_count=1)
    config.add_cluster("blue", [f"127.0.0.1:{free_port()}"])
    return HazelcastClient(config, **options)


def test_no_call_works_after_shutdown(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        users: Any = client.get_map("shutdown").blocking()
        users.size()
        states: list[str] = []
        client.lifecycle_service.add_listener(states.append)
        client.shutdown()
        client.shutdown()
        assert states == ["SHUTTING_DOWN", "DISCONNECTED", "SHUTDOWN"]
        assert not client.lifecycle_service.is_running()
        uses: list[Callable[[], object]] = [
            users.size,
            lambda: client.get_map("shutdown").size().result(),
            lambda: client.get_map("used later"),
            lambda: client.cp_subsystem.get_lock("used later"),
            client.start,
            client.reset,
            lambda: client.switch_to("green"),
            lambda: users.add_entry_listener(added_func=print),
            lambda: client.same_cluster().__enter__(),
        ]
        for use in uses:
            with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
                use()
        status = client.status()
        assert (status.state, status.current_cluster, status.current_index) == ("closed", None, None)
    assert client_threads() == []


def test_concurrent_shutdowns_all_return_when_it_is_done(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        left: list[list[str]] = []

        def shut_down() -> None:
            client.shutdown()
            left.append([name for name in client_threads() if name == "hazelcast-reactor"])

        threads = [threading.Thread(target=shut_down) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert left == [[]] * 8


def test_pending_operations_end_at_shutdown(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        queue: Any = client.get_queue("shutdown")
        queue.clear().result()
        errors: list[BaseException] = []

        def take() -> None:
            try:
                queue.blocking().take()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        future = queue.take()
        link = client._runtime.route.link
        assert link is not None
        eventually(lambda: len(link.calls) == 2)
        client.shutdown()
        thread.join(5)
        assert not thread.is_alive() and len(errors) == 1
        with pytest.raises(type(errors[0])):
            future.result()


def test_a_switch_requested_during_shutdown_fails(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        client._runtime.engine.stop(5)  # as shutdown() in another thread does after switch_to() has checked
        with pytest.raises(HazelcastClientNotActiveError):
            client.switch_to("green")


def test_a_link_published_after_shutdown_is_not_used(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        users: Any = client.get_map("shutdown").blocking()
        users.size()
        link = client._runtime.route.link
        assert link is not None
        client.shutdown()
        client._runtime.route.publish(link)  # as a controller does that has just connected
        with pytest.raises(HazelcastClientNotActiveError):
            users.size()


def by_listener(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    users: Any = client.get_map("shutdown-by-listener").blocking()
    users.add_entry_listener(added_func=shut_down)
    users.delete("key")
    # Not blocking: the listener may shut the client down before the answer arrives.
    client.get_map("shutdown-by-listener").put_transient("key", 1, 60)  # type: ignore[arg-type]


def by_subscriber(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.subscribe(shut_down)
    with suppress(HazelcastClientNotActiveError):  # an event may arrive before the switch has ended
        client.switch_to("green")


def by_lifecycle_listener(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.lifecycle_service.add_listener(shut_down)
    with suppress(HazelcastClientNotActiveError):  # likewise
        client.switch_to("green")
    threading.Thread(target=client.shutdown).start()


def by_callback(client: HazelcastClient, shut_down: Callable[..., None]) -> None:
    client.get_map("shutdown-by-callback").size().add_done_callback(shut_down)


@pytest.mark.parametrize("way", [by_listener, by_subscriber, by_lifecycle_listener, by_callback])
@pytest.mark.timing
def test_shutdown_from_the_clients_own_threads(
    blue: LocalCluster, green: LocalCluster, way: Callable[..., None]
) -> None:
    took: list[float] = []

    def shut_down(*_: object) -> None:
        began = time.monotonic()
        client.shutdown()
        took.append(time.monotonic() - began)

    with client_on(blue, green) as client:
        way(client, shut_down)
        eventually(lambda: took)
        assert took[0] < 2
        eventually(lambda: client.status().state == "closed")
        eventually(lambda: client_threads() == [])


@pytest.mark.timing
def test_shutdown_does_not_wait_for_a_blocked_listener(blue: LocalCluster) -> None:
    release = threading.Event()
    with client_on(blue) as client:
        users: Any = client.get_map("shutdown-listener").blocking()
        called = threading.Event()

        def block(_: object) -> None:
            called.set()
            release.wait(30)

        users.add_entry_listener(added_func=block)
        users.delete("key")
        users.set("key", 1)
        assert called.wait(5)
        began = fair_time()
        client.shutdown()
        assert fair_time() - began < 2.5
        release.set()
        eventually(lambda: client_threads() == [])


def test_shutdown_of_an_unused_client_does_not_connect() -> None:
    events: list[Event] = []
    client = absent_client()
    client.subscribe(events.append)
    client.shutdown()
    with pytest.raises(HazelcastClientNotActiveError):
        client.start()
    assert client.status().state == "closed" and not events
    assert client_threads() == []
