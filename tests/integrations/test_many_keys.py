"""Methods for many keys take time in proportion to their number, and keep only so much in flight."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hazelcast.errors import ClientOfflineError

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.integrations._entries import Entry, EntryMap
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.integrations.limits import HazelcastStorage
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_at, client_on
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.waiting import eventually

MAP = "many-keys-tests"
AT_ONCE = 1_000


class CountedKey(str):
    """A key that counts how often any of its kind is hashed or compared."""

    uses = 0

    def __hash__(self) -> int:
        CountedKey.uses += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        CountedKey.uses += 1
        return super().__eq__(other)


class Source:
    """Many keys, with the number of those that were taken."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        for number in range(self.number):
            self.taken += 1
            yield f"key-{number}"


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with client_on(shared_clusters[0]) as client:
        yield client


@pytest.fixture
def cache(client: Any) -> Iterator[HazelcastCache]:
    cache = HazelcastCache(client, MAP, key_prefix=uuid4().hex)
    yield cache
    assert cache.clear()


def _set_many(cache: HazelcastCache, keys: list[str]) -> None:
    assert cache.set_many(dict.fromkeys(keys, 1)) == keys


def _get_many(cache: HazelcastCache, keys: list[str]) -> None:
    assert cache.get_many(*keys) == [1] * len(keys)


def _get_dict(cache: HazelcastCache, keys: list[str]) -> None:
    assert cache.get_dict(*keys) == dict.fromkeys(keys, 1)


def _delete_many(cache: HazelcastCache, keys: list[str]) -> None:
    assert cache.delete_many(*keys) == keys


@pytest.mark.parametrize("method", [_set_many, _get_many, _get_dict, _delete_many])
def test_each_key_is_handled_a_few_times_only(cache: HazelcastCache, method: Any) -> None:
    """However many there are."""
    keys: list[str] = [CountedKey(f"key-{number}") for number in range(2_000)]
    _set_many(cache, keys)
    CountedKey.uses = 0
    method(cache, keys)
    assert CountedKey.uses < 20 * len(keys)


def test_what_could_not_be_deleted_is_found_out_quickly(away: HazelcastClient) -> None:
    """A failed deletion names the keys without comparing each with all."""
    keys = [CountedKey(f"key-{number}") for number in range(2_000)]
    CountedKey.uses = 0
    with pytest.raises(RuntimeError, match="Failed to delete keys"):
        HazelcastCache(away, ignore_delete_many_errors=False).delete_many(*keys)
    assert CountedKey.uses < 20 * len(keys)


def test_all_of_many_thousand_keys_are_read(client: Any, cache: HazelcastCache) -> None:
    """Also if that takes more than one question, and beside keys of others."""
    keys = [f"key-{number}" for number in range(12_000)]
    _set_many(cache, keys)
    _get_many(cache, keys)
    storage = HazelcastStorage(f"hazelcast+failover://{MAP}", client=client, key_prefix=uuid4().hex)
    storage.incr("key", 60)
    client.get_map(MAP).blocking().set(7, "seven")
    assert storage.reset() == 1
    assert cache.clear()
    assert cache.get_many(*keys) == [None] * len(keys)
    client.get_map(MAP).blocking().delete(7)


@pytest.mark.parametrize("operation", ["set", "remove"])
def test_no_more_than_a_thousand_operations_are_in_flight(blue: LocalCluster, operation: str) -> None:
    """The next one begins when one of them has ended."""
    source = Source(5_000)

    class Values(dict[str, Entry]):
        def __iter__(self) -> Iterator[str]:
            return iter(source)

        def __missing__(self, key: str) -> Entry:
            return Entry(b"value")

    with (
        Relay(blue.addresses[0]) as relay,
        client_at(("blue", relay.address), health_check_interval=0) as client,
    ):
        prefix = uuid4().hex
        entries = EntryMap(lambda: client, MAP, lambda: prefix)
        entries.get("warm")
        relay.freeze()
        done: list[str] = []

        def run() -> None:
            done.extend(entries.set_all(Values()) if operation == "set" else entries.remove_all(source))

        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: source.taken == AT_ONCE, within=5.0)
        thread.join(0.2)
        assert source.taken == AT_ONCE and not done
        relay.resume()
        thread.join(20)
        assert len(done) == source.number
        entries.clear()


def test_without_a_cluster_only_the_first_operations_are_tried(away: HazelcastClient) -> None:
    """Not each of many: each may take as long to fail."""
    source = Source(100_000)
    with pytest.raises(ClientOfflineError):
        list(EntryMap(lambda: away, MAP, str).remove_all(source))
    assert source.taken <= AT_ONCE


@pytest.mark.timing
@pytest.mark.parametrize("method", [_set_many, _get_many, _get_dict, _delete_many])
def test_four_times_as_many_keys_take_about_four_times_as_long(cache: HazelcastCache, method: Any) -> None:
    """Not sixteen times."""

    def time_for(number: int) -> float:
        keys = [f"key-{at}" for at in range(number)]
        _set_many(cache, keys)
        began = fair_time()
        method(cache, keys)
        return fair_time() - began

    time_for(1_000)
    small, large = time_for(5_000), time_for(20_000)
    assert large < 9 * small
