"""Nothing of a destroyed structure or a removed listener is kept, on the active link or on standbys."""

import gc
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import QUICK, client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

TIMES = 100
# Bytes for each structure that came and went; proxies on two links take more than 1,000.
BYTES = 350
NEAR: dict[str, Any] = {"near_caches": {f"near {number}": {} for number in range(3 * TIMES)}}


def standing_by(client: Any) -> bool:
    return all(one.state in ("active", "standby") for one in client.status().clusters)


@pytest.fixture(scope="module", autouse=True)
def _empty_standby(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[None]:
    """Destroy on the standby, too, what these tests have destroyed on the active cluster: hundreds of maps take memory."""
    yield
    with client_on(shared_clusters[1]) as client:
        for structure in client.get_distributed_objects():
            structure.destroy()


@pytest.fixture
def client(blue: LocalCluster, green: LocalCluster) -> Iterator[Any]:
    with client_on(blue, green, client_options=NEAR) as connected:
        eventually(lambda: standing_by(connected))
        yield connected


def use_map(client: Any, name: str) -> Any:
    client.get_map(name).blocking().get("k")
    return client.get_map(name)


def use_near_cache(client: Any, name: str) -> Any:
    entries = client.get_map(name.replace("used", "near")).blocking()
    entries.set("k", 1)
    assert entries.get("k") == entries.get("k") == 1
    return entries


def use_listeners(client: Any, name: str) -> Any:
    entries = client.get_map(name)
    entries.blocking().add_entry_listener(added_func=id)
    entries.add_entry_listener(key="k", include_value=True, added_func=id).result()
    return entries


def use_locks(client: Any, name: str) -> Any:
    entries = client.get_map(name).blocking()
    entries.lock("k")
    assert entries.try_lock("other")
    return entries


def use_multi_map(client: Any, name: str) -> Any:
    entries = client.get_multi_map(name).blocking()
    entries.lock("k")
    entries.add_entry_listener(added_func=id)
    return entries


def use_queue(client: Any, name: str) -> Any:
    queue = client.get_queue(name)
    queue.offer(1).result()
    queue.add_listener(item_added_func=id).result()
    return queue


def use_ring_buffer(client: Any, name: str) -> Any:
    ring = client.get_ringbuffer(name).blocking()
    ring.add("x")
    assert ring.read_one(ring.head_sequence()) == "x"
    return ring


def use_reliable_topic(client: Any, name: str) -> Any:
    topic = client.get_reliable_topic(name).blocking()
    topic.add_listener(id)
    topic.publish("x")
    return topic


def use_counter(client: Any, name: str) -> Any:
    counter = client.get_pn_counter(name).blocking()
    counter.add_and_get(1)
    return counter


USES: dict[str, Callable[[Any, str], Any]] = {
    name.removeprefix("use_"): use for name, use in list(globals().items()) if name.startswith("use_")
}


def kept(client: Any) -> dict[str, int]:
    """The sizes of all that may keep something of a structure, ours and those of the official clients."""
    links = client._runtime.engine.links.all()
    found: dict[str, Any] = {
        "proxies": client._runtime.proxies._proxies,
        "listeners": client._runtime.listeners._registrations._specs,
        "reliable": client._runtime.listeners._reliable,
        "locks": client._runtime.operations.policy.affinity._locks,
        "sequences": client._runtime.operations.policy.affinity._latest_sequences,
        "sequences of threads": client._runtime.operations.policy.affinity._thread_sequences,
        "permits": client._runtime.operations.policy.affinity._permits._held,
        "waiting": client._runtime.proxies.creator._waiting,
        "being created": client._runtime.proxies.creator._creating,
    }
    for link in links:
        official = link.client
        found |= {
            f"{link.label} {what}": one
            for what, one in {
                "proxies": link.proxy_keys(),
                "creations": link._creations,
                "locks held": link.locks,
                "registrations": link.registrations,
                "official proxies": official._proxy_manager._proxies,
                "official lock proxies": official.cp_subsystem._proxy_manager._lock_proxies,
                "official listeners": official._listener_service._active_registrations,
                "official handlers": official._listener_service._event_handlers,
                "near caches": official._near_cache_manager._caches,
            }.items()
        }
    return {what: len(one) for what, one in found.items()}


def keeps_only(client: Any, before: dict[str, int]) -> bool:
    more = {what: number for what, number in kept(client).items() if number > before[what]}
    assert not more, f"kept: {more}"
    return True


@pytest.mark.parametrize("use", USES)
def test_destroyed_structure_is_forgotten(client: Any, use: str) -> None:
    before = kept(client)
    for number in range(3):
        structure = USES[use](client, f"used {number}")
        key = next(key for key in client._runtime.proxies._proxies if key.name == structure.name)
        assert client._runtime.route.link.real(key) is not None
        eventually(lambda: all(link.real(key) is not None for link in client._runtime.engine.links.all()))  # noqa: B023
        assert structure.destroy() is True
    eventually(lambda: keeps_only(client, before))


def test_destroyed_structure_is_forgotten_on_standbys(client: Any) -> None:
    before = kept(client)
    structures = [use(client, f"used {kind}") for kind, use in USES.items()]
    for label in ("green", "blue"):
        client.switch_to(label)
        eventually(lambda: standing_by(client))
    for structure in structures:
        structure.destroy()
    eventually(lambda: keeps_only(client, before))


@pytest.mark.parametrize("use", ["map", "near_cache", "listeners"])
def test_structures_that_come_and_go_take_no_memory(client: Any, use: str) -> None:
    def come_and_go(numbers: range) -> None:
        for number in numbers:
            USES[use](client, f"used {number}").destroy()

    come_and_go(range(TIMES // 3))
    gc.collect()
    tracemalloc.start()
    try:
        come_and_go(range(TIMES // 3, TIMES + TIMES // 3))

        def is_little() -> bool:
            gc.collect()
            taken = tracemalloc.get_traced_memory()[0] / TIMES
            assert taken < BYTES, f"{taken:.0f} bytes each"
            return True

        eventually(is_little)
    finally:
        tracemalloc.stop()


def test_destroy_concerns_the_active_cluster_only(client: Any, green: LocalCluster) -> None:
    with client_on(green) as other:
        other.get_map("near 0").blocking().set("k", "of green")
        use_near_cache(client, "used 0").destroy()
        assert other.get_map("near 0").blocking().get("k") == "of green"
        client.switch_to("green")
        assert client.get_map("near 0").blocking().get("k") == "of green"
        client.get_map("near 0").destroy()


def test_destroy_while_a_standby_makes_the_proxy(blue: LocalCluster, green: LocalCluster) -> None:
    """The proxy that is being made on the standby is not kept there."""
    with Relay(green.addresses[0]) as relay:
        config = FailoverConfig()
        config.add_cluster(blue.name, blue.addresses)
        config.add_cluster(green.name, [relay.address], smart_routing=False, known_members=False)
        with HazelcastClient(config, client_options=NEAR, **QUICK | {"health_check_interval": 0}) as client:
            eventually(lambda: standing_by(client))
            before = kept(client)
            relay.delay(0.3)
            for kind in ("map", "near_cache", "reliable_topic"):
                structure = USES[kind](client, f"used {kind} 0".replace("near_cache ", ""))
                standby = next(
                    link for link in client._runtime.engine.links.all() if link.label == green.name
                )
                eventually(lambda: standby._creations)  # noqa: B023
                structure.destroy()
                eventually(lambda: not standby._creations)  # noqa: B023
            relay.resume()
            eventually(lambda: keeps_only(client, before))


def test_concurrent_first_uses_make_one_proxy(client: Any, blue: LocalCluster) -> None:
    entries = client.get_map("near 1").blocking()
    threads = [threading.Thread(target=entries.size) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    official = client._runtime.route.link.client
    listeners = official._listener_service._active_registrations.values()
    heard = [one for one in listeners if b"near 1" in bytes(one.registration_request.buf)]
    assert len(heard) == 1
    entries.destroy()


def test_one_proxy_while_it_is_referenced(client: Any) -> None:
    """A destroyed structure gets the same proxy again while the app still references it."""
    held = client.get_map("held")
    held.blocking().set("k", 1)
    held.destroy()
    assert client.get_map("held") is held
    held.destroy()
    held.blocking().set("k", 2)
    assert client.get_map("held") is held
    client.get_map("held").destroy()
    assert held.blocking().get("k") is None
    held.destroy()


def test_removed_listener_is_forgotten(client: Any) -> None:
    """Listeners with keys of their own come and go on a map that stays, and leave nothing with it."""
    entries = client.get_map("used for removed listeners")
    for number in range(20):
        listener = entries.add_entry_listener(key=f"k{number}", added_func=id).result()
        assert entries.remove_entry_listener(listener).result()
    link = client._runtime.route.link
    eventually(lambda: not link.registrations)
    eventually(lambda: gc.collect() >= 0 and not vars(entries_of(link, entries))["listener_templates"])
    entries.destroy()


def test_refused_listener_is_forgotten(client: Any) -> None:
    """A listener whose arguments the official method refuses is registered nowhere."""
    entries = client.get_map("used for refused listeners")
    for _ in range(3):
        with pytest.raises(TypeError):
            entries.add_entry_listener(misspelt=1).result()
    assert not client._runtime.route.link.registrations
    entries.destroy()


def entries_of(link: Any, entries: Any) -> Any:
    return link.real(entries._key)
