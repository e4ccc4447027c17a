"""What others write into the map of a cache or of limits does not run, and is as good as absent."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hazelcast.core import HazelcastJsonValue

from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.integrations.limits import HazelcastStorage
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.foreign_entries import Payload, official_client_on


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with client_on(shared_clusters[0]) as client:
        yield client


@pytest.fixture(scope="module")
def intruder(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    with official_client_on(shared_clusters[0]) as client:
        yield client


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Payload]:
    payload = Payload(tmp_path / "ran")
    yield payload
    assert not payload.has_run()


@pytest.fixture
def name() -> str:
    return f"foreign-{uuid4().hex}"


@pytest.fixture
def cache(client: Any, name: str) -> HazelcastCache:
    return HazelcastCache(client, name)


@pytest.fixture
def foreign(intruder: Any, name: str, cache: HazelcastCache, payload: Payload) -> Any:
    """The cache's map, as somebody else sees it; the value of "k" is foreign, and so is another key."""
    cache.set("mine", 1)
    foreign = intruder.get_map(name).blocking()
    foreign.set("0:k", payload)
    foreign.set(payload, payload)
    return foreign


@pytest.mark.usefixtures("foreign")
def test_a_foreign_value_is_absent(cache: HazelcastCache) -> None:
    assert cache.get("k") is None
    assert cache.get_many("k", "mine") == [None, 1]
    assert cache.get_dict("k", "mine") == {"k": None, "mine": 1}
    assert not cache.has("k")
    assert not cache.delete("k")


def _add(cache: HazelcastCache) -> bool:
    return cache.add("k", 5)


def _set(cache: HazelcastCache) -> bool:
    return bool(cache.set("k", 5))


def _set_many(cache: HazelcastCache) -> bool:
    return cache.set_many({"k": 5}) == ["k"]


def _inc(cache: HazelcastCache) -> bool:
    return cache.inc("k", 5) == 5


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("change", [_add, _set, _set_many, _inc])
def test_a_foreign_value_is_replaced(cache: HazelcastCache, change: Callable[[HazelcastCache], bool]) -> None:
    assert change(cache)
    assert cache.get("k") == 5
    assert cache.inc("k") == 6


@pytest.mark.usefixtures("foreign")
def test_foreign_values_are_deleted(cache: HazelcastCache, client: Any, name: str) -> None:
    assert cache.delete_many("k", "mine") == ["k", "mine"]
    assert client.control.get_plain_map(name).blocking().size() == 1


def test_a_cache_with_foreign_entries_is_cleared(cache: HazelcastCache, foreign: Any) -> None:
    assert cache.clear()
    assert cache.get("mine") is None
    assert foreign.size() == 1  # what has the foreign key


FOREIGN_KEYS = [7, 2.5, uuid4(), bytearray(b"0:x"), [1, 2], Decimal(3), datetime(2026, 1, 2)]


@pytest.mark.parametrize(
    "key",
    [*FOREIGN_KEYS, *map(HazelcastJsonValue, ["[1]", "no JSON", ""])],
    ids=lambda key: type(key).__name__,
)
def test_no_type_of_key_keeps_a_cache_from_being_cleared(
    cache: HazelcastCache, client: Any, intruder: Any, name: str, key: object
) -> None:
    cache.set("mine", 1)
    other = HazelcastCache(client, name, key_prefix="other")
    other.set("theirs", 2)
    storage = HazelcastStorage(f"hazelcast+failover://{name}", client=client)
    storage.incr("mine", 60)
    foreign = intruder.get_map(name).blocking()
    foreign.set(key, "v")
    assert storage.reset() == 1
    assert cache.has("mine") and cache.inc("count") == 1 and cache.delete_many("count") == ["count"]
    assert cache.clear()
    assert (cache.get("mine"), other.get("theirs")) == (None, 2)
    assert foreign.size() == 2


@pytest.mark.parametrize("end", [math.nan, 1e300, -math.inf])
def test_an_entry_with_an_impossible_end_is_absent(
    cache: HazelcastCache, intruder: Any, name: str, end: float
) -> None:
    forged = struct.pack(">Bd8s", 1, end, bytes(8)) + b"1"
    intruder.get_map(name).blocking().set("0:k", bytearray(forged))
    assert cache.get("k") is None
    assert cache.inc("k", 5) == 5


def test_the_app_still_reads_its_own_map_of_that_name(
    cache: HazelcastCache, client: Any, intruder: Any, name: str, tmp_path: Path
) -> None:
    expected = Payload(tmp_path / "expected")
    intruder.get_map(name).blocking().set("0:k", expected)
    assert cache.get("k") is None and not expected.has_run()
    assert client.get_map(name).blocking().get("0:k") is None and expected.has_run()


def _forged(end: float, value: bytes) -> bytearray:
    return bytearray(struct.pack(">Bd8s", 1, end, bytes(8)) + value)


FORGED: dict[str, Any] = {
    "text": "many",
    "number": 3.5,
    "yes": True,
    "short": _forged(math.inf, b"abc"),
    "endless": _forged(math.inf, struct.pack(">q", 5)),
    "no-time": _forged(4e9, struct.pack(">dq", math.nan, 9)),
    "far-time": _forged(4e9, struct.pack(">dq", 1e300, 9)),
    "no-start": _forged(4e9, struct.pack(">dqq", math.nan, 9, 9)),
    "far-start": _forged(4e9, struct.pack(">dqq", math.inf, 9, 9)),
}


@pytest.mark.parametrize("kind", ["pickled", *FORGED])
@pytest.mark.parametrize("strategy", ["fixed", "moving", "sliding"])
def test_limits_count_anew_where_a_value_is_foreign(
    client: Any, intruder: Any, name: str, payload: Payload, strategy: str, kind: str
) -> None:
    value = FORGED.get(kind, payload)
    storage = HazelcastStorage(f"hazelcast+failover://{name}", client=client)
    foreign = intruder.get_map(name).blocking()
    hit = {
        "fixed": lambda: storage.incr("k", 60) == 1,
        "moving": lambda: storage.acquire_entry("k", 5, 60),
        "sliding": lambda: storage.acquire_sliding_window_entry("k", 5, 60),
    }[strategy]
    assert hit()
    (stored,) = foreign.key_set()
    foreign.set(stored, value)
    foreign.set(payload, payload)
    assert storage.get("k") == 0
    assert storage.get_expiry("k") <= time.time()
    assert storage.get_moving_window("k", 5, 60)[1] == 0
    assert storage.get_sliding_window("k", 60)[::2] == (0, 0)
    assert hit()
    assert storage.check()
    assert storage.reset() == 1
    assert foreign.size() == 1
    foreign.set(stored, value)
    storage.clear("k")
    storage.clear_sliding_window("k", 60)
    assert foreign.size() == 1
