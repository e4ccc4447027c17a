"""The stuck waker: the official client loses wake-ups under threads; ours must not, nor need a tick to find them."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hazelcast.reactor import AsyncoreReactor

from flask_hazelcast_failover.client._official import fix_waker_race
from flask_hazelcast_failover.client._official.transport.reactor import sleep_until_event
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.waiting import eventually


class _Racing:
    """The `os` of the reactor's module, in which another thread wakes the loop right before the pipe is read."""

    def __init__(self, race: Callable[[], None]) -> None:
        self._race = race

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, *args: int) -> bytes:
        self._race()
        return os.read(*args)


def is_stuck_after_a_race(reactor: Any, module: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Wake the loop while it reads; whether it then takes itself for awake, with nothing left to read."""
    waker = reactor._loop.waker
    races: list[bool] = []

    def race() -> None:
        if not races:
            races.append(True)
            waker.wake()

    waker.wake()
    with monkeypatch.context() as patched:
        patched.setattr(f"{module}.os", _Racing(race))
        waker.handle_read()
    assert races
    with pytest.raises(BlockingIOError):
        os.read(waker._read_fd, 1)
    return bool(waker.awake)


@pytest.fixture
def reactor() -> Any:
    reactor: Any = AsyncoreReactor()
    yield reactor
    reactor._loop.waker.close()


def test_the_official_waker_still_gets_stuck(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the official client no longer needs put_waker_right(): remove it."""
    assert is_stuck_after_a_race(reactor, "hazelcast.reactor", monkeypatch)


def test_ours_does_not(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_waker_race(reactor)
    assert not is_stuck_after_a_race(
        reactor, "flask_hazelcast_failover.client._official.transport.reactor", monkeypatch
    )


def test_ours_still_wakes(reactor: Any) -> None:
    fix_waker_race(reactor)
    waker = reactor._loop.waker
    for _ in range(3):
        waker.wake()
        assert waker.awake and os.read(waker._read_fd, 10) == b"x"
        waker.handle_read()
        assert not waker.awake


def test_it_is_put_right_on_every_connection(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        for label in ("green", "blue"):
            client.switch_to(label)
            official: Any = client.control.connected_clusters()[label]
            assert "handle_read" in vars(official._reactor._loop.waker), label


class Looks:
    """Counts how often a reactor looks for something to do."""

    def __init__(self, reactor: Any) -> None:
        self.count = 0
        self._run_loop = reactor._loop.run_loop
        reactor._loop.run_loop = self._counted

    def have_begun(self) -> bool:
        return self.count > 0

    def _counted(self) -> None:
        self.count += 1
        self._run_loop()


def test_the_official_reactor_still_ticks(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the official client may no longer need sleep_until_needed(): see what it does instead."""
    waits = []

    def loop(timeout: float, **_: Any) -> None:
        waits.append(timeout)

    monkeypatch.setattr("hazelcast.reactor.asyncore.loop", loop)
    reactor._loop.run_loop()
    assert waits == [0.01]


def a_sleeper() -> Any:
    reactor: Any = AsyncoreReactor()
    fix_waker_race(reactor)
    sleep_until_event(reactor)
    return reactor


@pytest.fixture
def sleeper() -> Iterator[Any]:
    reactor = a_sleeper()
    yield reactor
    reactor.shutdown()


def test_ours_sleeps_while_there_is_nothing_to_do(sleeper: Any) -> None:
    looks = Looks(sleeper)
    sleeper.start()
    began = time.monotonic()
    eventually(lambda: looks.count > 10, 5.0)
    assert time.monotonic() - began > 0.5, "a tick of 10 ms"


def is_as_long_as(late: list[float], length: int) -> bool:
    return len(late) == length


def test_ours_keeps_its_timers_whoever_sets_them(sleeper: Any) -> None:
    sleeper.start()
    late: list[float] = []

    def set_timer() -> None:
        due = time.monotonic() + 0.02
        sleeper.add_timer(0.02, lambda: late.append(time.monotonic() - due))

    for count in range(1, 11):
        set_timer()
        sleeper.add_timer(0.001, set_timer)
        eventually(partial(is_as_long_as, late, 2 * count))
    assert sorted(late)[10] < 0.04, late


def test_ours_ends_at_once() -> None:
    took = []
    for _ in range(5):
        sleeper = a_sleeper()
        looks = Looks(sleeper)
        sleeper.start()
        eventually(looks.have_begun)
        began = time.monotonic()
        sleeper.shutdown()
        took.append(time.monotonic() - began)
    assert min(took) < 0.05, took


def get_for(seconds: float, users: Any, threads: int) -> None:
    """Have these threads read all the while."""
    over = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < over:
            users.get("key")

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def lone_get(users: Any) -> float:
    """The median time of a `get` with nothing else going on, in seconds."""
    times = []
    for _ in range(51):
        began = time.perf_counter()
        users.get("key")
        times.append(time.perf_counter() - began)
    return sorted(times)[25]


def test_threads_slow_nothing_down_for_good(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        users: Any = client.get_map("waker").blocking()
        users.set("key", 1)
        fresh = lone_get(users)
        get_for(1.5, users, threads=8)
        # How many they do beside the official client is the benchmarks' business. This machine may be busy now, but
        # not for good.
        eventually(lambda: lone_get(users) < max(4 * fresh, 0.004), within=10.0)
