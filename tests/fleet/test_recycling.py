"""Workers that gunicorn recycles or restarts under load: no request is lost, and no worker stays as a ghost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import url_of
from tests.support.fleet_server import Server, serve
from tests.support.waiting import eventually

QUICK: dict[str, Any] = {"TRY_COUNT": 1, "HEALTH_CHECK_INTERVAL": 0.2}
WORKERS = 2
CLASSES = {
    "sync": ("--worker-class", "sync"),
    "gthread": ("--worker-class", "gthread", "--threads", "4"),
    "gevent": ("--worker-class", "gevent"),
}


class Visitors:
    """Threads that send one request after the other, and what they got."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/visits"
        self._lock = threading.Lock()
        self.answers = 0  # under _lock, like the next one
        self.lost: list[str] = []

    @contextmanager
    def visiting(self, count: int = 4) -> Iterator[None]:
        """Send requests while the block runs."""
        ended = threading.Event()
        with ThreadPoolExecutor(count) as pool:
            for _ in range(count):
                pool.submit(self._visit_until, ended)
            try:
                yield
            finally:
                ended.set()

    def wait_for(self, more: int) -> None:
        """Return after so many more answers."""
        goal = self.answers + more
        eventually(lambda: self.answers >= goal, within=20)

    def _visit_until(self, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                with urlopen(self._url, timeout=15) as answer:
                    answer.read()
                lost = None
            except HTTPError as error:
                with error:
                    lost = f"{error.code}: {error.read()[:200]!r}"
            except OSError as error:
                lost = repr(error)
            with self._lock:
                self.answers += 1
                self.lost += [lost] if lost else []


def live_workers(server: Server) -> set[int]:
    """The ids of the processes of gunicorn's workers."""
    children = psutil.Process(server.process.pid).children()
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}


def fleet_pids(server: Server) -> list[int]:
    """The ids of the processes that the fleet counts."""
    workers = server.get("/hazelcast/status")["fleet"]["workers"]
    return sorted(worker["pid"] for worker in workers)


def settles(server: Server) -> bool:
    """Whether the fleet counts no other processes than live workers, each once; one that is new joins at its first use."""
    counted = fleet_pids(server)
    return len(set(counted)) == len(counted) and len(counted) > 0 and set(counted) <= live_workers(server)


def reaches_all(server: Server, label: str) -> None:
    """Switch the fleet; every worker follows. Refused, and tried again, while a new worker still connects to the target."""

    def is_carried_out() -> bool:
        code, answer = server.post("/hazelcast/switch", cluster=label)
        assert code in (200, 409), answer
        return code == 200 and answer["missing"] == [] and bool(answer["done"])

    eventually(is_carried_out, within=15)
    eventually(lambda: set(server.places()) <= {label, None})


@pytest.mark.parametrize("worker_class", CLASSES)
def test_recycling_under_load(
    blue: LocalCluster, green: LocalCluster, tmp_path: Path, worker_class: str
) -> None:
    """With ``--max-requests``, each worker ends after some requests and another one takes its place."""
    arguments = (*CLASSES[worker_class], "--max-requests", "60", "--max-requests-jitter", "30")
    with serve(tmp_path, [url_of(blue), url_of(green)], WORKERS, arguments, **QUICK) as server:
        before, seen = live_workers(server), set[int]()
        visitors = Visitors(server)
        with visitors.visiting():
            eventually(partial(has_replaced, server, before, seen, 3 * WORKERS), within=40)
        assert not visitors.lost, f"{len(visitors.lost)} of {visitors.answers}: {visitors.lost[:5]}"
        eventually(lambda: settles(server), within=15)
        reaches_all(server, "green")


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_restart_under_load(
    blue: LocalCluster, green: LocalCluster, tmp_path: Path, worker_class: str
) -> None:
    """HUP replaces all workers."""
    arguments = CLASSES[worker_class]
    with serve(tmp_path, [url_of(blue), url_of(green)], WORKERS, arguments, **QUICK) as server:
        server.visited()
        visitors = Visitors(server)
        with visitors.visiting():
            for _ in range(2):
                before = live_workers(server)
                visitors.wait_for(20)
                server.process.send_signal(signal.SIGHUP)
                eventually(partial(has_replaced, server, before, set(), WORKERS), within=30)
                eventually(lambda: not live_workers(server) & before, within=15)  # noqa: B023
            visitors.wait_for(20)
        assert not visitors.lost, f"{len(visitors.lost)} of {visitors.answers}: {visitors.lost[:5]}"
        eventually(lambda: settles(server), within=15)
        reaches_all(server, "green")


def has_replaced(server: Server, before: set[int], seen: set[int], count: int) -> bool:
    """Whether so many further workers have been seen, in all calls with this set."""
    seen |= live_workers(server) - before
    return len(seen) >= count
