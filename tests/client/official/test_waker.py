"""The reactor: no wake-up is lost under threads, and none has to wait for a tick."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hazelcast.reactor import AsyncoreReactor

from flask_hazelcast_failover.client._official import fix_waker_race
from flask_hazelcast_failover.client._official.transport.clock import bind_methods, monotonic_methods
from flask_hazelcast_failover.client._official.transport.reactor import sleep_until_event
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.waiting import eventually


class RacingOs:
    """The module `os`, with another thread that wakes the loop right before the pipe is read."""

    def __init__(self, race: Callable[[], None]) -> None:
        self._race = race

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def read(self, *args: int) -> bytes:
        self._race()
        return os.read(*args)


def is_stuck_after_a_race(reactor: Any, module: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the waker counts as awake with an empty pipe after a wake-up during its read."""
    waker = reactor._loop.waker
    races: list[bool] = []

    def race() -> None:
        if not races:
            races.append(True)
            waker.wake()

    waker.wake()
    with monkeypatch.context() as patched:
        patched.setattr(f"{module}.os", RacingOs(race))
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


def test_the_official_waker_gets_stuck(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the official client no longer needs fix_waker_race(): remove it."""
    assert is_stuck_after_a_race(reactor, "hazelcast.reactor", monkeypatch)


def test_the_patched_waker_does_not_get_stuck(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_waker_race(reactor)
    assert not is_stuck_after_a_race(
        reactor, "flask_hazelcast_failover.client._official.transport.reactor", monkeypatch
    )


def test_the_patched_waker_wakes(reactor: Any) -> None:
    fix_waker_race(reactor)
    waker = reactor._loop.waker
    for _ in range(3):
        waker.wake()
        assert waker.awake and os.read(waker._read_fd, 10) == b"x"
        waker.handle_read()
        assert not waker.awake


def test_every_connection_is_patched(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        for label in ("green", "blue"):
            client.switch_to(label)
            official: Any = client.control.connected_clusters()[label]
            assert "handle_read" in vars(official._reactor._loop.waker), label


class TurnCounter:
    """Counts the turns of a reactor's loop."""

    def __init__(self, reactor: Any) -> None:
        self.count = 0
        self._run_loop = reactor._loop.run_loop
        reactor._loop.run_loop = self._counted

    def has_begun(self) -> bool:
        return self.count > 0

    def _counted(self) -> None:
        self.count += 1
        self._run_loop()


def test_the_official_reactor_ticks(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the official client may no longer need sleep_until_event(): see what it does instead."""
    waits = []

    def loop(timeout: float, **_: Any) -> None:
        waits.append(timeout)

    monkeypatch.setattr("hazelcast.reactor.asyncore.loop", loop)
    reactor._loop.run_loop()
    assert waits == [0.01]


def make_sleeper() -> Any:
    reactor: Any = AsyncoreReactor()
    bind_methods(reactor._loop, monotonic_methods()["_reactor._loop"])
    fix_waker_race(reactor)
    sleep_until_event(reactor)
    return reactor


@pytest.fixture
def sleeper() -> Iterator[Any]:
    reactor = make_sleeper()
    yield reactor
    reactor.shutdown()


def test_an_idle_reactor_sleeps(sleeper: Any) -> None:
    turns = TurnCounter(sleeper)
    sleeper.start()
    began = time.monotonic()
    eventually(lambda: turns.count > 10, 5.0)
    assert time.monotonic() - began > 0.5, "a tick of 10 ms"


def test_an_interrupted_wake_up_delays_no_later_call(blue: LocalCluster) -> None:
    """A thread that is interrupted after it has marked the waker and before it wakes the reactor leaves the mark."""
    with client_on(blue) as client:
        users = client.get_map("users").blocking()
        users.get("key")
        official: Any = client.control.connected_clusters()["blue"]
        waker = official._reactor._loop.waker
        waker.awake = True
        turns = TurnCounter(official._reactor)
        eventually(lambda: turns.count > 2)
        wake, woken = waker.wake, []

        def count() -> None:
            if not waker.awake:
                woken.append(waker)
            wake()

        waker.wake = count
        users.get("key")
        assert woken, "no call wakes the reactor any more"


def is_as_long_as(late: list[float], length: int) -> bool:
    return len(late) == length


def test_timers_run_on_time(sleeper: Any) -> None:
    """Also those that are set on other threads."""
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


def test_a_sleeping_reactor_shuts_down_at_once() -> None:
    took = []
    for _ in range(5):
        sleeper = make_sleeper()
        turns = TurnCounter(sleeper)
        sleeper.start()
        eventually(turns.has_begun)
        began = time.monotonic()
        sleeper.shutdown()
        took.append(time.monotonic() - began)
    assert min(took) < 0.05, took


def get_for(seconds: float, users: Any, threads: int) -> None:
    """Read on several threads for some time."""
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
    """The median duration of a `get` on an idle client, seconds."""
    times = []
    for _ in range(51):
        began = time.perf_counter()
        users.get("key")
        times.append(time.perf_counter() - began)
    return sorted(times)[25]


def test_many_threads_slow_down_no_later_call(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        users: Any = client.get_map("waker").blocking()
        users.set("key", 1)
        fresh = lone_get(users)
        get_for(1.5, users, threads=8)
        # The throughput beside the official client is measured by the benchmarks.
        eventually(lambda: lone_get(users) < max(4 * fresh, 0.004), within=10.0)
