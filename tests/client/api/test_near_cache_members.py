"""A near cache keeps nothing that a member may have changed unheard: members and connections come and go."""

import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hazelcast.core import Address
from hazelcast.protocol.codec import map_add_near_cache_invalidation_listener_codec as invalidation_codec

from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.relay import Relay, _Link
from tests.support.waiting import eventually

CACHED: dict[str, Any] = {"near_caches": {"cached": {}}}
# Whether a busy member is as good as dead is not the question here.
UNCHECKED: dict[str, Any] = {"health_check_interval": 0, "try_count": 3}
# Members report changes every ten seconds otherwise.
AT_ONCE = {"hazelcast.map.invalidation.batch.enabled": "false"}
KEYS = range(100)
# How soon a change must be seen: sooner than by members that report changes every ten seconds.
SOON = 8.0

LISTENS = struct.pack("<i", invalidation_codec._REQUEST_MESSAGE_TYPE)
NO_SUCH_REQUEST = struct.pack("<i", 0x00FEFE00)


class RefusingRelay(Relay):
    """Has the member refuse to report changes while `refuses_listeners`."""

    refuses_listeners = False

    def _receive(self, link: _Link, end: Any, most: int = 65536) -> None:
        super()._receive(link, end, most)
        if self.refuses_listeners and end is link.ends[0]:
            waiting = link.outbox[link.ends[1]]
            for number, (due, data) in enumerate(waiting):
                waiting[number] = due, data.replace(LISTENS, NO_SUCH_REQUEST)


def set_all(entries: Any, value: object) -> None:
    entries.put_all(dict.fromkeys(KEYS, value))


def get_all(entries: Any) -> set[object]:
    return {entries.get(key) for key in KEYS}


def hits(client: Any) -> int:
    cached = client.get_map("cached")
    before: int = cached._near_cache._hits
    get_all(cached.blocking())
    hit: int = cached._near_cache._hits - before
    return hit


def connection_to(client: Any, address: str) -> Any:
    (official,) = client.control.connected_clusters().values()
    connections = official._connection_manager.active_connections.values()
    found = [one for one in connections if f":{one.remote_address.port}" == address[-6:]]
    return found[0] if found else None


def reach_others_through(client: Any, relay: Relay) -> None:
    """Have the client reach members that it is not connected to through a relay."""
    (official,) = client.control.connected_clusters().values()
    host, port = relay.address.split(":")
    official._connection_manager._translate_member_address = lambda _: Address(host, int(port))


@contextmanager
def relayed(client: Any, relay: Relay, address: str) -> Iterator[None]:
    """Have the client reach one of the members, at `address`, through a relay."""
    reach_others_through(client, relay)
    connection_to(client, address).close_connection("to be reached through the relay", None)
    eventually(lambda: connection_to(client, address))
    yield


@pytest.mark.parametrize("smart", [True, False], ids=["smart", "one-connection"])
def test_unreported_changes_of_a_killed_member(start_cluster: StartCluster, smart: bool) -> None:
    """Members report changes every ten seconds: what a killed one had yet to report is lost."""
    cluster = start_cluster("blue", 2)
    with client_on(cluster, client_options=CACHED | {"smart_routing": smart}, **UNCHECKED) as client:
        with client_on(cluster, **UNCHECKED) as other:
            cached, changed = client.get_map("cached").blocking(), other.get_map("cached").blocking()
            set_all(changed, "old")
            eventually(lambda: get_all(cached) == {"old"} and hits(client) == len(KEYS), within=30.0)
            kept = connection_to(client, cluster.addresses[0]) is not None
            set_all(changed, "new")
            cluster.kill(1 if kept else 0)
            eventually(lambda: get_all(cached) == {"new"}, within=SOON)
            eventually(lambda: hits(client) == len(KEYS), message="a near cache that is of use again")


def test_changes_on_a_member_that_joins(start_cluster: StartCluster) -> None:
    """It owns entries before the client has reached it."""
    cluster = start_cluster("blue", properties=AT_ONCE)
    with (
        client_on(cluster, client_options=CACHED, **UNCHECKED) as client,
        client_on(cluster, **UNCHECKED) as other,
    ):
        cached, changed = client.get_map("cached").blocking(), other.get_map("cached").blocking()
        set_all(changed, "old")
        assert get_all(cached) == get_all(cached) == {"old"}
        with Relay(cluster.addresses[0]) as relay:
            relay.refuse()
            reach_others_through(client, relay)
            address = cluster.add_member().address
            relay._target = ("127.0.0.1", int(address.rpartition(":")[2]))
            newcomer = eventually(lambda: connection_to(other, address)).remote_uuid
            owner = other.partition_service.get_partition_owner
            eventually(lambda: newcomer in {owner(number) for number in range(271)}, within=30.0)
            for value in ("first", "second"):
                set_all(changed, value)
                eventually(lambda: get_all(cached) == {value}, within=SOON)  # noqa: B023
            relay.resume()
            eventually(lambda: hits(client) == len(KEYS), message="a near cache that is of use again")
            set_all(changed, "new")
            eventually(lambda: get_all(cached) == {"new"})


def test_changes_while_one_connection_is_lost(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", 2, properties=AT_ONCE)
    with (
        client_on(cluster, client_options=CACHED, **UNCHECKED) as client,
        client_on(cluster, **UNCHECKED) as other,
    ):
        cached, changed = client.get_map("cached").blocking(), other.get_map("cached").blocking()
        with Relay(cluster.addresses[1]) as relay, relayed(client, relay, cluster.addresses[1]):
            set_all(changed, "old")
            eventually(lambda: get_all(cached) == {"old"} and hits(client) == len(KEYS))
            relay.refuse()
            for value in ("first", "second"):
                set_all(changed, value)
                eventually(lambda: get_all(cached) == {value}, message="changes while it is gone")  # noqa: B023
            relay.resume()
            eventually(lambda: connection_to(client, cluster.addresses[1]))
            eventually(lambda: hits(client) == len(KEYS), message="a near cache that is of use again")
            set_all(changed, "new")
            eventually(lambda: get_all(cached) == {"new"}, message="changes after it has come back")


def test_connection_that_comes_back_at_once(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", 2, properties=AT_ONCE)
    with (
        client_on(cluster, client_options=CACHED, **UNCHECKED) as client,
        client_on(cluster, **UNCHECKED) as other,
    ):
        cached, changed = client.get_map("cached").blocking(), other.get_map("cached").blocking()
        with Relay(cluster.addresses[1]) as relay, relayed(client, relay, cluster.addresses[1]):
            for number in range(10):
                set_all(changed, f"old {number}")
                eventually(lambda: len(get_all(cached)) == 1)
                relay.freeze()  # what changes now is reported to no client
                set_all(changed, f"new {number}")
                relay.cut()
                relay.resume()
                eventually(lambda: get_all(cached) == {f"new {number}"})  # noqa: B023
                eventually(lambda: connection_to(client, cluster.addresses[1]))


def test_refused_invalidations_are_requested_again(
    start_cluster: StartCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the member accepts, the near cache keeps nothing."""
    cluster = start_cluster("blue", 2, properties=AT_ONCE)
    with (
        client_on(cluster, client_options=CACHED, **UNCHECKED) as client,
        client_on(cluster, **UNCHECKED) as other,
    ):
        cached, changed = client.get_map("cached").blocking(), other.get_map("cached").blocking()
        address = cluster.addresses[1]
        with closing(RefusingRelay(address)) as relay, relayed(client, relay, address):
            set_all(changed, "old")
            eventually(lambda: get_all(cached) == {"old"} and hits(client) == len(KEYS))
            (official,) = client.control.connected_clusters().values()
            handlers = len(official._listener_service._event_handlers)
            relay.refuses_listeners = True
            relay.cut()
            eventually(lambda: caplog.text.count("refuses its invalidation listener") > 1)
            for value in ("first", "second"):
                set_all(changed, value)
                assert get_all(cached) == {value}
            relay.refuses_listeners = False
            eventually(lambda: hits(client) == len(KEYS), message="a near cache that is of use again")
            set_all(changed, "new")
            eventually(lambda: get_all(cached) == {"new"})
            assert len(official._listener_service._event_handlers) == handlers


def test_answer_from_before_a_change_is_not_kept(start_cluster: StartCluster) -> None:
    """A `get` is under way when everything is dropped, and when its very key changes."""
    cluster = start_cluster("blue", 2, properties=AT_ONCE)
    with (
        client_on(cluster, client_options=CACHED, **UNCHECKED) as client,
        client_on(cluster, **UNCHECKED) as other,
    ):
        cached, changed = client.get_map("cached"), other.get_map("cached").blocking()
        address = cluster.addresses[1]
        with Relay(address) as relay, relayed(client, relay, address):
            set_all(changed, "old")
            eventually(lambda: get_all(cached.blocking()) == {"old"} and hits(client) == len(KEYS))
            (official,) = client.control.connected_clusters().values()
            for drop in (
                official.clear_near_caches,
                lambda: cached._invalidate_cache_batch(map(cached._to_data, KEYS)),
            ):
                official.clear_near_caches()
                relay.freeze()
                answers = [cached.get(key) for key in KEYS]
                eventually(lambda: sum(answer.done() for answer in answers) > 20)  # noqa: B023
                under_way = [key for key, answer in zip(KEYS, answers, strict=True) if not answer.done()]
                assert under_way
                drop()
                relay.resume()
                assert {answer.result() for answer in answers} == {"old"}
                assert not [key for key in under_way if cached._to_data(key) in cached._near_cache]
                assert not cached._near_cache._reads
