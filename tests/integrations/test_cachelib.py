"""HazelcastCache implements cachelib exactly, for any number of processes."""

import multiprocessing
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from cachelib import BaseCache
from cachelib.serializers import BaseSerializer
from markupsafe import Markup

from flask_hazelcast_failover import FailoverConfig, HazelcastClient, HazelcastFailover
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import client_of, make_app
from tests.support.clients import client_on
from tests.support.fair_time import fair_time
from tests.support.relay import Relay
from tests.support.waiting import eventually

PROCESSES = 8
MAP = "cachelib-tests"
FOR_EVER = 2**63 - 1  # the ttl of an entry without one

PLAIN: list[Any] = [
    None,
    True,
    False,
    0,
    -7,
    2**80,
    3.5,
    float("inf"),
    "",
    "naïve ☕",
    [],
    {},
    [1, [2, {}]],
    {"a": {"b": []}},
]
TAGGED: list[Any] = [
    b"\x00\xff",
    (),
    ("initial", -1),
    {1, 2},
    frozenset({"a"}),
    {"sauce": [], 256: "truffle", (1, 2): "tuple", None: 0},
    {"~tuple": [1]},
    {"~dict": []},
    {"~": 1, "b": 2},
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc),
    date(2026, 1, 2),
    timedelta(days=-1, microseconds=5),
    Decimal("1.10"),
    UUID(int=7),
    [({"deep": (b"x",)},)],
]


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[HazelcastClient]:
    with client_on(shared_clusters[0]) as client:
        yield client


@pytest.fixture
def cache(client: HazelcastClient) -> HazelcastCache:
    return HazelcastCache(client, MAP, key_prefix=uuid4().hex)


def seconds_left(client: HazelcastClient, cache: HazelcastCache, key: str) -> float:
    """The time to live that the member has left for the only entry of this cache."""
    entries: Any = client.get_map(MAP).blocking()
    [stored] = [at for at in entries.key_set() if at.endswith(f"{cache._prefix()}{key}")]
    view = entries.get_entry_view(stored)
    return float("inf") if view.ttl == FOR_EVER else view.expiration_time / 1000 - time.time()


@pytest.mark.parametrize("value", [*PLAIN, *TAGGED], ids=repr)
def test_a_value_is_loaded_as_it_was_stored(cache: HazelcastCache, value: Any) -> None:
    assert cache.set("key", value) is True
    found = cache.get("key")
    assert found == value and type(found) is type(value)
    assert cache.has("key")


def test_markup_is_kept_and_other_subclasses_are_not(cache: HazelcastCache) -> None:
    cache.set("markup", Markup("<b>"))
    assert isinstance(cache.get("markup"), Markup)
    cache.set("text", type("Text", (str,), {})("plain"))
    assert type(cache.get("text")) is str


@pytest.mark.parametrize("method", ["set", "add"])
def test_an_unsafe_value_is_refused_with_advice(cache: HazelcastCache, method: str) -> None:
    with pytest.raises(TypeError, match=r"cannot store a builtins.range.*serializer="):
        getattr(cache, method)("key", {"inside": [range(3)]})
    assert not cache.has("key")


def test_pickles_need_their_own_serializer(client: HazelcastClient) -> None:
    prefix = uuid4().hex
    pickling = HazelcastCache(client, MAP, key_prefix=prefix, serializer=BaseSerializer())
    assert pickling.set("key", range(3))
    assert pickling.get("key") == range(3)
    assert HazelcastCache(client, MAP, key_prefix=prefix).get("key") is None


class Trap:
    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


def test_reading_a_value_runs_no_code(client: HazelcastClient, cache: HazelcastCache) -> None:
    evil = type(
        "Evil", (), {"dumps": lambda self, value: pickle.dumps(value), "loads": lambda self, raw: None}
    )
    assert HazelcastCache(client, MAP, key_prefix=cache._prefix(), serializer=evil()).set("key", Trap())
    assert cache.get("key") is None
    assert not Trap.sprung


class NumbersOnly(BaseSerializer):  # type: ignore[misc, unused-ignore]
    """Returns ``None`` for what it cannot store, as the serializers of cachelib do."""

    def dumps(self, value: object) -> bytes | None:  # type: ignore[override]
        return repr(value).encode() if isinstance(value, float) else None

    def loads(self, stored: bytes) -> float:
        return float(stored)


def test_the_serializer_can_be_replaced(cache: HazelcastCache) -> None:
    cache.serializer = NumbersOnly()
    assert cache.set_many({"a": 1.5, "b": 42, "c": "no number"}) == ["a", "b"]
    assert cache.get_many("a", "b", "c") == [1.5, 42, None]
    assert cache.set("text", "no number") is cache.add("text", "no number") is False


@pytest.mark.parametrize("foreign", ["text", 5, bytearray(b""), bytearray(b"\x07" * 40)], ids=repr)
def test_a_foreign_entry_is_no_value_and_is_replaced(
    client: HazelcastClient, cache: HazelcastCache, foreign: Any
) -> None:
    cache.set("key", 1)
    entries: Any = client.get_map(MAP).blocking()
    [stored] = [at for at in entries.key_set() if cache._prefix() in at]
    entries.set(stored, foreign)
    assert cache.get("key") is None
    assert cache.inc("key") == 1


@pytest.mark.parametrize(
    "error", [RecursionError(), KeyError("x" * 9999), AttributeError("two\nlines")], ids=repr
)
def test_whatever_a_serializer_raises_is_a_miss(
    cache: HazelcastCache, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    class Raising(BaseSerializer):  # type: ignore[misc, unused-ignore]
        def loads(self, _: bytes) -> Any:
            raise error

    cache.set("key", "value")
    cache.serializer = Raising()
    assert cache.get("key") is None
    assert cache.get_many("key", "missing") == [None, None]
    assert all(len(one.getMessage()) < 500 and one.getMessage().isprintable() for one in caplog.records)
    assert not cache.has("key")
    assert cache.inc("key") == 1


def test_every_method_of_cachelib_is_implemented(cache: HazelcastCache) -> None:
    promised = {name for name in vars(BaseCache) if not name.startswith("_")} - {"get_dict"}
    assert promised <= set(vars(HazelcastCache))


def test_many_values_at_once(cache: HazelcastCache) -> None:
    values: dict[str, Any] = {f"key-{n}": n for n in range(20)}
    assert cache.set_many(values) == list(values)
    assert cache.get_many("key-3", "none", "key-1") == [3, None, 1]
    assert cache.get_dict("key-3", "none") == {"key-3": 3, "none": None}
    assert cache.get_many() == []
    assert cache.delete_many("key-3", "none") == ["key-3", "none"]
    assert cache.get_many("key-3", "key-4") == [None, 4]


def test_many_values_take_no_round_trip_each(blue: LocalCluster) -> None:
    delay, keys = 0.05, [f"key-{n}" for n in range(60)]
    with Relay(blue.addresses[0]) as relay:
        failover = FailoverConfig()
        failover.add_cluster("blue", [relay.address], smart_routing=False, known_members=False)
        with HazelcastClient(failover) as client:
            cache = HazelcastCache(client, MAP, key_prefix=uuid4().hex)
            cache.get("warm")
            relay.delay(delay)
            began = time.monotonic()
            assert cache.set_many(dict.fromkeys(keys, 1)) == keys
            assert cache.get_many(*keys) == [1] * len(keys)
            assert cache.delete_many(*keys) == keys
            took = time.monotonic() - began
            relay.resume()
    assert 3 * 2 * delay <= took < len(keys) * 2 * delay / 4


def test_delete_returns_whether_there_was_a_value(cache: HazelcastCache) -> None:
    cache.set("key", None)
    assert cache.delete("key") is True
    assert cache.delete("key") is False


@pytest.mark.parametrize("change", ["set", "add", "set_many", "inc"])
def test_a_value_expires_in_time(cache: HazelcastCache, change: str) -> None:
    """Not a second sooner or later."""

    def store() -> object:
        if change == "inc":
            cache.default_timeout = 1
            return cache.inc("key")
        return cache.set_many({"key": 1}, 1) if change == "set_many" else getattr(cache, change)("key", 1, 1)

    began = time.monotonic()
    assert store()
    stored = time.monotonic()
    eventually(lambda: not cache.has("key"), within=3.0)
    gone = time.monotonic()
    assert gone - began > 0.95 and gone - stored < 1.6
    assert (cache.get("key"), cache.get_many("key"), cache.delete("key")) == (None, [None], False)
    assert cache.add("key", "anew", timedelta(seconds=30)) is True
    assert cache.get("key") == "anew"


def test_the_member_removes_expired_values(client: HazelcastClient, cache: HazelcastCache) -> None:
    """But none with a timeout of 0."""
    for timeout, least, most in ((0, float("inf"), float("inf")), (timedelta(0), float("inf"), float("inf"))):
        cache.set("key", 1, timeout)
        assert least <= seconds_left(client, cache, "key") <= most
    for timeout in (20, timedelta(seconds=20)):
        cache.set("key", 1, timeout)
        assert 20 <= seconds_left(client, cache, "key") < 24
    cache.set("key", 1)
    assert 300 <= seconds_left(client, cache, "key") < 304


def test_counting_keeps_the_expiry_of_a_value(client: HazelcastClient, cache: HazelcastCache) -> None:
    cache.set("key", 10, 20)
    assert (cache.inc("key", 5), cache.dec("key", 3)) == (15, 12)
    assert 19 < seconds_left(client, cache, "key") < 24
    cache.set("key", 1, 0)
    assert cache.inc("key") == 2
    assert seconds_left(client, cache, "key") == float("inf")


def test_a_timeout_may_be_less_than_a_second(cache: HazelcastCache) -> None:
    cache.set("key", 1, timeout=0.1)
    eventually(lambda: not cache.has("key"), within=0.6)
    assert cache.add("key", 2)


@pytest.mark.parametrize("timeout", [-1, timedelta(seconds=-2)])
def test_a_negative_timeout_is_refused(cache: HazelcastCache, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be 0"):
        cache.set("key", 1, timeout)


def test_counting_begins_at_zero_and_is_unlimited(cache: HazelcastCache) -> None:
    assert cache.inc("up", 0) == 0
    assert cache.get("up") == 0
    assert cache.dec("down", 5) == -5
    cache.set("large", 2**70)
    assert cache.inc("large") == 2**70 + 1
    cache.set("half", 0.5)
    assert cache.inc("half") == 1.5


def test_only_numbers_can_be_counted(cache: HazelcastCache) -> None:
    cache.set("key", "ten")
    with pytest.raises(TypeError, match="'key' is a str"):
        cache.inc("key")
    assert cache.get("key") == "ten"


def count_up(addresses: list[str], prefix: str, times: int) -> None:
    failover = FailoverConfig()
    failover.add_cluster("blue", addresses)
    with HazelcastClient(failover) as client:
        cache = HazelcastCache(client, MAP, key_prefix=prefix)
        for turn in range(times):
            assert (cache.inc if turn % 3 else cache.dec)("count") is not None
            if cache.add(f"turn-{turn}", 1):
                cache.inc("winners")


def test_concurrent_processes_lose_no_count(blue: LocalCluster, cache: HazelcastCache) -> None:
    """And each add succeeds in one of them."""
    times = 60
    cache.set("count", 0, 120)
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    processes = [
        fresh.Process(target=count_up, args=(blue.addresses, cache._prefix(), times))
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(45)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert cache.get("count") == PROCESSES * (times - 2 * (times // 3))
    assert cache.get("winners") == times


@pytest.mark.timing
def test_a_hundred_threads_count_efficiently(cache: HazelcastCache) -> None:
    together = threading.Barrier(100)

    def count() -> int | None:
        together.wait(10)
        return cache.inc("count")

    began = fair_time()
    with ThreadPoolExecutor(100) as pool:
        counted = {future.result() for future in [pool.submit(count) for _ in range(100)]}
    assert counted == set(range(1, 101))
    assert fair_time() - began < 5.0


@pytest.mark.parametrize(
    "prefix", ["", "a", "a%", "a_", "a.*", "\\Ea", "\\", "a\nb", "1:a", "ä☕", "[(", "a:"], ids=repr
)
def test_clear_deletes_its_own_values_and_no_others(client: HazelcastClient, prefix: str) -> None:
    name = f"clear-{uuid4().hex}"
    others = [
        HazelcastCache(client, name, key_prefix=each) for each in ("b", "ab", "a%b", "aab", "1", "a.", "A")
    ]
    cache = HazelcastCache(client, name, key_prefix=prefix)
    for each in (cache, *others):
        each.set_many({"key": 1, "line\nbreak": 2, "": 3})
    assert cache.clear() is True
    assert cache.get_many("key", "line\nbreak", "") == [None] * 3
    assert all(each.get_many("key", "line\nbreak", "") == [1, 2, 3] for each in others)
    client.get_map(name).blocking().destroy()


def test_prefixes_never_collide(client: HazelcastClient) -> None:
    name = f"prefixes-{uuid4().hex}"
    HazelcastCache(client, name, key_prefix="a").set("bc", "a+bc")
    HazelcastCache(client, name, key_prefix="ab").set("c", "ab+c")
    HazelcastCache(client, name).set("1:abc", "none")
    assert HazelcastCache(client, name, key_prefix="a").get("bc") == "a+bc"
    assert HazelcastCache(client, name, key_prefix="ab").get("c") == "ab+c"
    assert HazelcastCache(client, name).get("abc") is None
    client.get_map(name).blocking().destroy()


def test_a_prefix_may_be_computed(client: HazelcastClient) -> None:
    tenant = ["red"]
    cache = HazelcastCache(client, MAP, key_prefix=lambda: tenant[0])
    cache.set("key", "of red")
    tenant[0] = "grey"
    assert cache.get("key") is None
    tenant[0] = "red"
    assert cache.get("key") == "of red" and cache.clear()


def test_the_extension_gives_the_client_of_the_current_app(blue: LocalCluster, green: LocalCluster) -> None:
    ext = HazelcastFailover()
    cache = HazelcastCache(ext, MAP, key_prefix=uuid4().hex)
    shop, office = make_app(blue, ext=ext), make_app(green, ext=ext)
    with client_of(shop), client_of(office):
        with shop.app_context():
            assert cache.set("key", "shop")
        with office.app_context():
            assert cache.get("key") is None
        with shop.app_context():
            assert cache.get("key") == "shop" and cache.clear()
        with pytest.raises(RuntimeError, match="outside an app context"):
            cache.get("key")
