"""HazelcastStorage implements every strategy of limits exactly, and raises when it cannot."""

import multiprocessing
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)

from flask_hazelcast_failover import (
    ClientOfflineException,
    FailoverConfig,
    HazelcastClient,
    HazelcastFailover,
)
from flask_hazelcast_failover.integrations.limits import HazelcastStorage
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import client_of, make_app
from tests.support.clients import client_on
from tests.support.waiting import eventually

URI = "hazelcast+failover://limits-tests"
STRATEGIES: list[Any] = [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter]
PROCESSES = 4


@pytest.fixture(scope="module")
def client(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[HazelcastClient]:
    with client_on(*shared_clusters) as client:
        yield client


@pytest.fixture
def storage(client: HazelcastClient) -> Iterator[HazelcastStorage]:
    storage = HazelcastStorage(URI, client=client, key_prefix=uuid4().hex)
    yield storage
    storage.reset()


@pytest.fixture(params=STRATEGIES)
def limiter(request: pytest.FixtureRequest, storage: HazelcastStorage) -> RateLimiter:
    limiter: RateLimiter = request.param(storage)
    return limiter


def wait_until(moment: float) -> None:
    while (left := moment - time.time()) > 0:
        threading.Event().wait(left)


def test_limits_finds_the_storage_by_its_scheme(client: HazelcastClient) -> None:
    storage = storage_from_string("hazelcast+failover://", client=client)  # type: ignore[arg-type]
    assert isinstance(storage, HazelcastStorage)
    assert storage.check() is True


def test_a_limit_is_exact(limiter: RateLimiter) -> None:
    limit = RateLimitItemPerMinute(3)
    assert limiter.test(limit, "me")
    assert [limiter.hit(limit, "me") for _ in range(5)] == [True] * 3 + [False] * 2
    assert not limiter.test(limit, "me")
    assert limiter.get_window_stats(limit, "me").remaining == 0
    assert 59 <= limiter.get_window_stats(limit, "me").reset_time - time.time() <= 60 or isinstance(
        limiter, SlidingWindowCounterRateLimiter
    )
    assert limiter.hit(limit, "you")
    limiter.clear(limit, "me")
    assert limiter.get_window_stats(limit, "me").remaining == 3


def test_a_hit_may_cost_more_than_one(limiter: RateLimiter) -> None:
    limit = RateLimitItemPerMinute(10)
    assert not limiter.hit(limit, "much", cost=11)
    assert limiter.hit(limit, cost=6)
    assert limiter.get_window_stats(limit).remaining == 4
    assert not limiter.test(limit, cost=5)
    assert not limiter.hit(limit, cost=5)


def test_a_huge_limit_is_as_fast(limiter: RateLimiter) -> None:
    limit = RateLimitItemPerMinute(1_000_000)
    assert limiter.hit(limit) and limiter.hit(limit, cost=999_998)
    assert limiter.get_window_stats(limit).remaining == 1


def test_expired_hits_do_not_count(limiter: RateLimiter) -> None:
    limit: RateLimitItem = RateLimitItemPerSecond(2)
    began = time.time()
    assert limiter.hit(limit, cost=2)
    assert not limiter.hit(limit)
    eventually(lambda: limiter.get_window_stats(limit).remaining == 2, within=4.0)
    over = 2.0 if isinstance(limiter, SlidingWindowCounterRateLimiter) else 1.0
    assert over - 0.6 < time.time() - began < over + 0.8
    assert limiter.hit(limit)


def test_in_a_moving_window_each_hit_expires_by_itself(storage: HazelcastStorage) -> None:
    limiter, limit = MovingWindowRateLimiter(storage), RateLimitItemPerSecond(4, 2)
    began = time.time()
    assert limiter.hit(limit, cost=3)
    wait_until(began + 1.0)
    assert limiter.hit(limit)
    assert not limiter.hit(limit)
    assert limiter.get_window_stats(limit).reset_time == pytest.approx(began + 2.0, abs=0.3)
    wait_until(began + 2.4)
    assert limiter.get_window_stats(limit).remaining == 3
    assert limiter.hit(limit, cost=3) and not limiter.hit(limit)


def test_a_sliding_window_weighs_the_previous_one(storage: HazelcastStorage) -> None:
    limiter, limit = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerSecond(10)
    began = time.time()
    assert limiter.hit(limit, cost=10)
    wait_until(began + 1.5)
    previous, previous_left, current, current_left = storage.get_sliding_window(limit.key_for(), 1)
    assert (previous, current) == (10, 0)
    assert previous_left == pytest.approx(0.5, abs=0.2)
    assert current_left == pytest.approx(1.5, abs=0.2)
    assert 4 <= limiter.get_window_stats(limit).remaining <= 7
    assert not limiter.hit(limit, cost=9)
    assert limiter.hit(limit, cost=3)


def test_counts_have_an_expiry(storage: HazelcastStorage) -> None:
    assert storage.get("key") == 0
    assert storage.get_expiry("key") == pytest.approx(time.time(), abs=0.5)
    assert storage.incr("key", 10) == 1
    end = storage.get_expiry("key")
    assert end == pytest.approx(time.time() + 10, abs=0.5)
    assert storage.incr("key", 10, amount=10) == 11
    assert (storage.get("key"), storage.get_expiry("key")) == (11, end)


def test_a_reset_removes_the_limits_of_its_prefix_only(client: HazelcastClient) -> None:
    mine = HazelcastStorage(URI, client=client, key_prefix="mine")
    also = HazelcastStorage(URI, client=client, key_prefix="mine2")
    for number in range(5):
        mine.incr(f"key-{number}", 60)
        mine.acquire_entry(f"key-{number}", 5, 60)
        also.incr(f"key-{number}", 60)
    assert mine.reset() == 10
    assert mine.reset() == 0
    assert also.get("key-1") == 1
    assert also.reset() == 5


def test_a_hundred_threads_get_no_more_than_the_limit(limiter: RateLimiter) -> None:
    limit = RateLimitItemPerMinute(5)

    def hit() -> bool:
        threading.Event().wait(random.random() / 1000)
        return limiter.hit(limit)

    with ThreadPoolExecutor(100) as pool:
        assert sum(future.result() for future in [pool.submit(hit) for _ in range(100)]) == 5


def hit_away(addresses: list[str], prefix: str, results: Any) -> None:
    failover = FailoverConfig()
    failover.add_cluster("blue", addresses)
    with HazelcastClient(failover) as client:
        storage = HazelcastStorage(URI, client=client, key_prefix=prefix)
        limit = RateLimitItemPerMinute(50)
        for kind in STRATEGIES:
            results.put((kind.__name__, sum(kind(storage).hit(limit) for _ in range(40))))


def test_concurrent_processes_get_exactly_the_limit(blue: LocalCluster) -> None:
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    results = fresh.Queue()
    arguments = (blue.addresses, uuid4().hex, results)
    processes = [fresh.Process(target=hit_away, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    hits = [results.get(timeout=45) for _ in range(PROCESSES * len(STRATEGIES))]
    for process in processes:
        process.join(10)
    for kind in STRATEGIES:
        assert sum(count for name, count in hits if name == kind.__name__) == 50


def test_a_limit_starts_anew_on_a_cluster_without_its_data(
    client: HazelcastClient, limiter: RateLimiter
) -> None:
    limit = RateLimitItemPerMinute(2)
    client.reset()
    assert [limiter.hit(limit) for _ in range(3)] == [True, True, False]
    client.switch_to("green")
    assert [limiter.hit(limit) for _ in range(3)] == [True, True, False]
    client.reset()
    assert not limiter.hit(limit)


def test_without_a_cluster_the_check_fails(away: HazelcastClient) -> None:
    """All else raises."""
    storage = HazelcastStorage(URI, client=away)
    assert storage.check() is False
    for ask in (storage.get, storage.get_expiry, storage.clear):
        with pytest.raises(ClientOfflineException):
            ask("key")
    for kind in STRATEGIES:
        with pytest.raises(ClientOfflineException):
            kind(storage).hit(RateLimitItemPerMinute(1))
    with pytest.raises(ClientOfflineException):
        storage.reset()


def test_errors_are_wrapped_when_asked_for(away: HazelcastClient) -> None:
    storage = HazelcastStorage(URI, wrap_exceptions=True, client=away)
    with pytest.raises(StorageError) as caught:
        storage.incr("key", 1)
    assert isinstance(caught.value.storage_error, ClientOfflineException)


def test_the_extension_gives_the_client_of_the_current_app(blue: LocalCluster) -> None:
    ext = HazelcastFailover()
    app, prefix = make_app(blue, ext=ext), uuid4().hex
    storages = [
        HazelcastStorage(URI, client=ext, key_prefix=prefix),
        HazelcastStorage(URI, key_prefix=prefix),
    ]
    with client_of(app), app.app_context():
        assert [storage.incr("key", 60) for storage in storages] == [1, 2]
        assert storages[0].reset() == 1
    for storage in storages:
        with pytest.raises(RuntimeError, match=r"app.context"):
            storage.get("key")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"client": "blue"}, "client must be a HazelcastClient"),
        ({"key_prefix": 5}, "key_prefix must be a str"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        HazelcastStorage(URI, **arguments)
