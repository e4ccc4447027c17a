"""Members create structures in the background once the app has got them by name, and never after a destroy."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from hazelcast.core import DistributedObjectEventType

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.clients import client_at, client_on, client_threads
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.waiting import eventually

CREATED, DESTROYED = DistributedObjectEventType.CREATED, DistributedObjectEventType.DESTROYED
GETTERS = [
    "get_executor",
    "get_flake_id_generator",
    "get_list",
    "get_map",
    "get_multi_map",
    "get_pn_counter",
    "get_queue",
    "get_reliable_topic",
    "get_replicated_map",
    "get_ringbuffer",
    "get_set",
    "get_topic",
]


def new_names(count: int) -> list[str]:
    return [f"created-{uuid4()}" for _ in range(count)]


@contextmanager
def structure_events(client: Any) -> Iterator[list[tuple[str, str]]]:
    """What members report of structures that are created and destroyed."""
    events: list[tuple[str, str]] = []
    listener = client.add_distributed_object_listener(
        lambda event: events.append((event.name, event.event_type))
    ).result()
    yield events
    client.remove_distributed_object_listener(listener).result()


def known_to_members(other: Any) -> set[str]:
    return {found.name for found in other.get_distributed_objects()}


def waiting(client: Any) -> int:
    return len(client._runtime.proxies.creator._waiting)


def test_listeners_hear_of_a_structure_before_its_first_use(blue: LocalCluster) -> None:
    (name,) = new_names(1)
    with client_on(blue) as client, structure_events(client) as events:
        structures = client.get_map(name)
        eventually(lambda: events == [(name, CREATED)])
        structures.destroy()
        eventually(lambda: events == [(name, CREATED), (name, DESTROYED)])


@pytest.mark.parametrize("getter", GETTERS)
def test_members_create_structures_of_each_kind(blue: LocalCluster, getter: str) -> None:
    (name,) = new_names(1)
    with client_on(blue) as other, structure_events(other) as events, client_on(blue) as client:
        structures = getattr(client, getter)(name)
        eventually(lambda: (name, CREATED) in events)
        ring = (f"_hz_rb_{name}", CREATED)
        assert (getter != "get_reliable_topic") or eventually(lambda: ring in events)
        structures.destroy()


def test_structures_are_created_on_each_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    """Those got by name before the client connects are created once it does, and after each switch."""
    names = new_names(30)
    config = FailoverConfig()
    for cluster in blue, green:
        config.add_cluster(cluster.name, cluster.addresses)
    with client_on(blue) as on_blue, client_on(green) as on_green:
        client: Any = HazelcastClient(config, standby="cold")
        structures = [client.get_map(name) for name in names]
        with client:
            eventually(lambda: known_to_members(on_blue) >= set(names))
            assert not known_to_members(on_green) & set(names)
            client.switch_to("green")
            eventually(lambda: known_to_members(on_green) >= set(names))
            for structure in structures:
                structure.destroy()


def test_nothing_is_created_after_a_destroy(blue: LocalCluster) -> None:
    names = new_names(150)
    with client_on(blue) as client, client_on(blue) as other, structure_events(other) as events:

        def come_and_go(number: int, name: str) -> None:
            structure = client.get_map(name)
            time.sleep(number % 10 / 1000)
            if number % 3 == 0:
                structure.blocking().size()
            structure.destroy()

        def list_all() -> None:
            while not ended.is_set():
                client.get_distributed_objects()

        ended = threading.Event()
        listing = threading.Thread(target=list_all)
        listing.start()
        threads = [
            threading.Thread(target=come_and_go, args=(number, name)) for number, name in enumerate(names)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended.set()
        listing.join()
        (later,) = new_names(1)
        client.get_map(later)
        eventually(lambda: (later, CREATED) in events)
        assert not known_to_members(other) & set(names)
        last = {name: kind for name, kind in events if name in names}
        assert set(last.values()) == {DESTROYED}
        assert not waiting(client) and not client._runtime.proxies.creator._creating
        client.get_map(later).destroy()


def test_destroy_waits_for_a_creation_under_way(blue: LocalCluster) -> None:
    (name,) = new_names(1)
    with Relay(blue.addresses[0]) as relay, client_at((blue.name, relay.address)) as client:
        with client_on(blue) as other, structure_events(other) as events:
            client.get_map("in use").blocking().size()
            relay.delay(0.2)
            structure = client.get_map(name)
            eventually(lambda: client._runtime.proxies.creator._creating)
            structure.destroy()
            assert not client._runtime.proxies.creator._creating
            relay.resume()
            client.get_map("in use").blocking().size()
            eventually(lambda: (name, DESTROYED) in events)
            assert [kind for found, kind in events if found == name][-1] == DESTROYED
            assert name not in known_to_members(other)


@pytest.mark.timing
def test_many_creations_are_paced(blue: LocalCluster, green: LocalCluster) -> None:
    """At most 200 a second, four at a time; a switch does not wait for them, and ends those on the former cluster."""
    names = new_names(250)
    with client_on(blue, green) as client, client_on(blue) as on_blue, client_on(green) as on_green:
        used = client.get_map("used").blocking()
        used.size()
        eventually(lambda: all(one.state in ("active", "standby") for one in client.status().clusters))
        with structure_events(on_blue) as events:
            began = time.monotonic()
            structures = [client.get_map(name) for name in names]
            assert time.monotonic() - began < 1.0
            eventually(lambda: len(events) > 40)
            assert len(events) <= (time.monotonic() - began) * 200 + 5
            assert sum(client._runtime.proxies.creator._in_flight.values()) <= 4
            began = fair_time()
            client.switch_to("green")
            assert fair_time() - began < 1.0
            assert used.size() == 0
            eventually(lambda: known_to_members(on_green) >= set(names), within=20.0)
            assert len({name for name, _ in events}) < len(names)
        assert not waiting(client)
        assert client_threads().count("hazelcast-failover-creator") == 1
        for structure in structures:
            structure.destroy()
        for name in known_to_members(on_blue) & set(names):
            on_blue.get_map(name).destroy()


def test_graceful_switch_does_not_wait_for_creations(blue: LocalCluster, green: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay:
        addresses = (blue.name, relay.address), (green.name, green.addresses[0])
        with client_at(*addresses, drain_timeout=5.0, standby="cold", health_check_interval=0) as client:
            client.get_map("used").blocking().size()
            link = client._runtime.route.link
            relay.delay(1.0)
            structures = [client.get_map(name) for name in new_names(4)]
            eventually(lambda: client._runtime.proxies.creator._in_flight)
            assert link.is_idle and not link.remains
            client.switch_to("green")
            eventually(lambda: link not in client._runtime.engine.links.all(), within=3.0)
            relay.resume()
            for structure in structures:
                structure.destroy()


def test_refused_creation_is_logged_only(blue: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    """Open-source members have no vector collections."""
    first, second = new_names(2)
    with caplog.at_level(logging.DEBUG, "flask_hazelcast_failover"), client_on(blue) as client:
        with structure_events(client) as events:
            client.get_vector_collection(first)
            made = client.get_map(second)
            eventually(lambda: (second, CREATED) in events)
            made.destroy()
        eventually(lambda: f"VectorCollection '{first}' is not created on blue beforehand" in caplog.text)
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


def test_the_thread_ends_with_the_client(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay, client_at((blue.name, relay.address)) as client:
        client.get_map("used").blocking().size()
        relay.freeze()
        for name in new_names(200):
            client.get_map(name)
        eventually(lambda: "hazelcast-failover-creator" in client_threads())
        client.shutdown()
        eventually(lambda: client_threads() == [])


def test_no_thread_without_a_cluster() -> None:
    config = FailoverConfig(try_count=1)
    config.add_cluster("nowhere", [f"127.0.0.1:{free_port()}"])
    client = HazelcastClient(config)
    for name in new_names(10):
        client.get_map(name)
    assert client.status().state == "idle" and client_threads() == []
    with pytest.raises(ClientOfflineException):
        client.start()
    assert client_threads() == []
    client.shutdown()


def test_structure_destroyed_by_another_client(blue: LocalCluster) -> None:
    """It is not listed any more, and not created again before its next use."""
    (name,) = new_names(1)
    with client_on(blue) as client, client_on(blue) as other:
        structure = client.get_map(name)
        assert structure in client.get_distributed_objects()
        other.get_map(name).destroy()
        assert name not in known_to_members(client)
        assert name not in known_to_members(client)
        structure.blocking().set("a", 1)
        assert structure is client.get_map(name) and structure in client.get_distributed_objects()
        structure.destroy()


def test_listed_structure_is_not_created_elsewhere(blue: LocalCluster, green: LocalCluster) -> None:
    (name,) = new_names(1)
    with client_on(blue, green) as client, client_on(blue) as other, client_on(green) as on_green:
        made = other.get_map(name)
        eventually(lambda: name in known_to_members(client))
        client.switch_to("green")
        client.get_map("used").blocking().size()
        eventually(lambda: not waiting(client))
        assert name not in known_to_members(on_green)
        made.destroy()


def test_later_listener_hears_of_later_structures_only(blue: LocalCluster) -> None:
    """A listener gets no event of structures that were got by name before it was added."""
    with client_on(blue) as client:
        before, after = new_names(3), new_names(1)
        for name in before:
            client.get_map(name)
        with structure_events(client) as events:
            client.get_map(after[0])
            eventually(lambda: (after[0], CREATED) in events)
            assert [name for name, _ in events if name in before] == []


def test_near_cache_exists_before_the_first_use(blue: LocalCluster) -> None:
    """The official statistics know a near cache before its first use."""
    (name,) = new_names(1)
    with client_on(blue, client_options={"near_caches": {name: {}}}) as client:
        client.get_map(name)
        caches = client.control.connected_clusters()["blue"]._near_cache_manager
        eventually(lambda: [cache.name for cache in caches.list_near_caches()] == [name])
