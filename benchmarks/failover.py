"""The time from a kill, a freeze or a switch to the first answer of the next cluster."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.clusters import connected, official, pair, until
from benchmarks.table import Row, median
from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster

__all__ = ["measure_freeze", "measure_graceful", "measure_kill", "measure_nothing"]

_THREADS = 8
# For a call of the official client, which knows one cluster only; seconds.
_OFFICIAL_TIMEOUT = 3.0
_WARM_UP = 500  # operations
_TUNED = {"health_check_interval": 0.1, "health_check_timeout": 0.1, "health_check_failures": 2}


class _Load:
    """Threads that read and write as fast as they can."""

    def __init__(self, client: HazelcastClient, threads: int) -> None:
        self.took: list[tuple[float, float]] = []  # (when it began, how long it took)
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        shop: Any = client.get_map("bench").blocking()
        self._threads = [threading.Thread(target=self._work, args=(shop, n)) for n in range(threads)]

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def percentile(self, share: float) -> float:
        """Return a percentile of how long operations took."""
        took = sorted(took for _, took in self.took)
        return took[min(len(took) - 1, int(len(took) * share))]

    def _work(self, shop: Any, number: int) -> None:
        while not self._stop.is_set():
            began = time.perf_counter()
            try:
                shop.get(number)
                shop.set(number, number)
            except Exception as error:
                self.errors.append(error)
            self.took.append((began, time.perf_counter() - began))


@contextlib.contextmanager
def _warmed(client: HazelcastClient, label: str) -> Iterator[None]:
    """Warm a member up with the operations of the benchmark: a JVM is slow at first."""
    shop: Any = client.control.connected_clusters()[label].get_map("bench").blocking()
    for number in range(_WARM_UP):
        shop.get(number % _THREADS)
        shop.set(number % _THREADS, number)
    yield


class _BareConnection:
    """A bare TCP connection to a member: its end is the earliest time at which a loss can be noticed."""

    def __init__(self, cluster: LocalCluster) -> None:
        host, _, port = cluster.addresses[0].rpartition(":")
        self.closed_at: float | None = None
        self._socket = socket.create_connection((host, int(port)))
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _BareConnection:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        has_ended = self.closed_at is not None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        if not has_ended:
            self.closed_at = None

    def _watch(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.recv(1)
        self.closed_at = time.perf_counter()


def measure_kill(runs: int) -> list[Row]:
    """SIGKILL."""
    return [
        _failover(runs, "killed, defaults", LocalCluster.kill, "≤ 400 ms", {}),
        _failover(runs, "killed, `try_count=1`", LocalCluster.kill, "≤ 30 ms", {"try_count": 1}),
    ]


def measure_freeze(runs: int) -> list[Row]:
    """SIGSTOP."""
    return [
        _failover(runs, "frozen, defaults", LocalCluster.freeze, "≤ 6.5 s", {}),
        _failover(runs, "frozen, checks every 0.1 s", LocalCluster.freeze, "≤ 0.5 s", _TUNED),
    ]


def _failover(
    runs: int, what: str, fault: Callable[[LocalCluster], None], target: str, options: dict[str, Any]
) -> Row:
    took: dict[int, list[float]] = {1: [], _THREADS: []}
    bare: list[float] = []
    failed = 0
    for _ in range(runs):
        for threads, longest in took.items():
            with (
                pair() as (blue, green),
                connected(blue, green, **options) as client,
                _warmed(client, green.name),
                _Load(client, threads) as load,
                _BareConnection(blue) as connection,
            ):
                moment = time.perf_counter()
                fault(blue)
                until(lambda client=client: client.status().current_cluster == "green")  # type: ignore[misc]
                time.sleep(0.2)
            longest.append(max(lasted for began, lasted in load.took if began + lasted > moment))
            failed += len(load.errors)
            bare += [] if connection.closed_at is None else [connection.closed_at - moment]
    closed = f"a bare TCP connection ends after {median(bare) * 1000:.0f} ms; " if bare else ""
    return Row(
        f"{what} → first answer",
        f"{median(took[1]) * 1000:.0f} ms by 1 thread, {median(took[_THREADS]) * 1000:.0f} ms by {_THREADS};"
        f" {failed} failed",
        f"{closed}official client: {_official_after(fault)}",
        target,
    )


def _official_after(fault: Callable[[LocalCluster], None]) -> str:
    """Return what a call of an official client ends with after a fault of its cluster."""
    with pair() as (blue, _), official(blue) as client:
        shop: Any = client.get_map("bench").blocking()
        shop.get("key")
        fault(blue)
        ended: list[str] = []

        def call() -> None:
            try:
                shop.get("key")
                ended.append("an answer")
            except Exception as error:
                ended.append(type(error).__name__)

        began = time.perf_counter()
        caller = threading.Thread(target=call)
        caller.start()
        caller.join(_OFFICIAL_TIMEOUT)
        lasted = time.perf_counter() - began
        end = (
            f"{ended[0]} after {lasted * 1000:.0f} ms"
            if ended
            else f"no answer within {_OFFICIAL_TIMEOUT:g} s"
        )
        client.shutdown()
        blue.kill()  # a frozen member would keep the caller waiting
        caller.join()
        return end


def measure_graceful(runs: int) -> list[Row]:
    """Switches under load, beside the same load without switches."""
    quiet, usual, moving, arrived, failed = [], [], [], [], 0
    with pair() as (blue, green), connected(blue, green) as client:
        shop: Any = client.get_map("bench").blocking()
        for _ in range(runs):
            with _Load(client, _THREADS) as load:
                time.sleep(1.5)
            quiet.append(load.percentile(0.999))
            usual.append(load.percentile(0.5))
            with _Load(client, _THREADS) as load:
                for label in ("green", "blue") * 3:
                    began = time.perf_counter()
                    client.switch_to(label)
                    shop.get("key")
                    arrived.append(time.perf_counter() - began)
                    time.sleep(0.25)
            moving.append(load.percentile(0.999))
            failed += len(load.errors)
    ratio = median(moving) / median(quiet)
    return [
        Row(
            "graceful switch under load → first answer of the target",
            f"{median(arrived) * 1000:.1f} ms",
            f"a get of the same load without switches: {median(usual) * 1000:.2f} ms",
            "",
        ),
        Row(
            "graceful switches under load, 99.9th percentile",
            f"{median(moving) * 1000:.1f} ms, {ratio:.2f}x; {failed} failed",
            f"the same load without switches: {median(quiet) * 1000:.1f} ms",
            "≤ 2x, 0 failed",
        ),
    ]


def measure_nothing(runs: int) -> list[Row]:
    """No cluster reachable, and one that comes back."""
    calls, back = [], []
    for _ in range(runs):
        with pair() as (blue, green), connected(blue, green, try_count=1) as client:
            shop: Any = client.get_map("bench").blocking()
            shop.get("key")
            blue.kill()
            green.kill()
            until(lambda client=client: client.status().state == "offline")  # type: ignore[misc]
            for _ in range(50):
                began = time.perf_counter()
                try:
                    shop.get("key")
                except Exception:
                    calls.append(time.perf_counter() - began)
            green.restart()
            began = time.perf_counter()
            until(lambda client=client: client.status().state == "connected")  # type: ignore[misc]
            back.append(time.perf_counter() - began)
    return [
        Row(
            "nothing reachable: a call fails in",
            f"{median(calls) * 1000:.2f} ms",
            f"official client: {_official_after(LocalCluster.kill)}",
            "≤ 5 ms",
        ),
        Row("a cluster is back → connected", f"{median(back):.2f} s", "", "≤ 2 s"),
    ]
