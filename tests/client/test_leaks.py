"""Nothing is left behind: no thread, no file, no memory, however often the client moves."""

import gc
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psutil
import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client._official import OfficialClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

# For 300 switches. Official clients that leak take more than a megabyte for ten of them.
MEGABYTES = 12
# Threads that end soon.
SHORT_LIVED = {
    f"hazelcast-failover-{what}"
    for what in ("attempt", "close", "drain", "goodbye", "open", "prepare", "probe")
}


def threads() -> Counter[str]:
    return Counter(thread.name for thread in threading.enumerate())


def files() -> int:
    return psutil.Process().num_fds()


def memory() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def clients_and_links() -> Counter[str]:
    """Objects that hold a connection, also those that only the garbage collector can reach."""
    gc.collect()
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, (OfficialClient, Link)))


@contextmanager
def nothing_left_behind(megabytes: float = MEGABYTES) -> Iterator[None]:
    """Assert that the block leaves threads, files, connections and memory as they were."""
    eventually(lambda: not SHORT_LIVED & threads().keys(), message="the clients before to end")
    before = threads(), files(), memory()
    held = clients_and_links()
    yield
    eventually(lambda: threads() == before[0], message=f"threads as before, {before[0]}")
    eventually(lambda: files() <= before[1], message=f"{before[1]} files as before")
    eventually(lambda: clients_and_links() <= held, message=f"as many clients and links as before, {held}")
    grown = memory() - before[2]
    assert grown < megabytes, f"{grown:.1f} MB more"


def has_moved(client: HazelcastClient, epoch: int) -> bool:
    return client.status().epoch >= epoch


def all_connected(client: HazelcastClient) -> bool:
    return all(cluster.state in ("active", "standby") for cluster in client.status().clusters)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_300_switches_leave_nothing_behind(blue: LocalCluster, green: LocalCluster, standby: str) -> None:
    with client_on(blue, green, standby=standby, health_check_interval=0.1) as client:
        users: Any = client.get_map("leaks").blocking()
        users.add_entry_listener(added_func=lambda _: None)

        def switch(times: int) -> None:
            for _ in range(times // 2):
                for label in ("green", "blue"):
                    client.switch_to(label)
                    users.get("key")

        switch(30)
        if standby == "hot":
            eventually(lambda: all_connected(client))
        with nothing_left_behind():
            switch(300)
        assert client.status().epoch == 331
        assert len(client._runtime.engine.links.all()) <= 2
        assert len(client.status().history) == 100


def test_losses_leave_nothing_behind(blue: LocalCluster, green: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as first, Relay(green.addresses[0]) as second:
        config = FailoverConfig()
        config.add_cluster("blue", [first.address], smart_routing=False, known_members=False)
        config.add_cluster("green", [second.address], smart_routing=False, known_members=False)
        with HazelcastClient(config, retry_delay=0.001) as client:
            users: Any = client.get_map("leaks").blocking()

            def lose(times: int) -> None:
                for _ in range(times):
                    eventually(lambda: all_connected(client), message="all connected")
                    next_epoch = client.status().epoch + 1
                    for relay in (first, second):
                        relay.cut()
                    eventually(partial(has_moved, client, next_epoch), message="connected again")
                    users.get("key")
                eventually(lambda: all_connected(client), message="all connected")

            lose(3)
            with nothing_left_behind():
                lose(20)


def test_1000_operations_and_100_listeners_leave_nothing_behind(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        users: Any = client.get_map("leaks-operations")
        events: list[object] = []

        def work(operations: int, listeners: int) -> None:
            ids = [
                users.add_entry_listener(key=0, added_func=events.append).result() for _ in range(listeners)
            ]
            for number in range(operations):
                users.set(number, "x" * 100)
                assert users.blocking().get(number)
            for future in [users.get(number) for number in range(operations)]:
                future.result()
            assert all(users.remove_entry_listener(listener).result() for listener in ids)
            users.blocking().clear()
            eventually(lambda: client._runtime._listener_executor._tasks.empty())
            events.clear()

        work(1000, 100)
        link = client._runtime.route.link
        assert link is not None
        with nothing_left_behind():
            work(1000, 100)
            assert not link.calls and not link.registrations and client._runtime.listeners.is_empty()
        users.destroy()


def test_20_clients_leave_nothing_behind(blue: LocalCluster, green: LocalCluster) -> None:
    def come_and_go(times: int) -> None:
        for _ in range(times):
            with client_on(blue, green) as client:
                users: Any = client.get_map("leaks").blocking()
                users.get("key")

    come_and_go(3)
    with nothing_left_behind():
        come_and_go(20)
