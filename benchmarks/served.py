"""An app under gunicorn with 4 workers and HTTP load, through a kill of its cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask

from benchmarks.clusters import pair, until
from benchmarks.table import Row, median
from flask_hazelcast_failover.testing import LocalCluster, free_port

__all__ = ["create_app", "measure"]

_CLIENTS, _WORKERS, _SECONDS = 8, 4, 4.0
_TIMEOUT = 3.0  # seconds that a visitor waits


def create_app() -> object:
    """Return the app that is measured."""
    from flask_hazelcast_failover import HazelcastFailover

    app = _app(lambda: ext.client)
    ext = HazelcastFailover(app)
    return app


def create_official_app() -> object:
    """Return the same app with the official client, on the first cluster."""
    from hazelcast.client import HazelcastClient

    client: list[HazelcastClient] = []  # made at the first request, after the workers were forked
    making = threading.Lock()

    def official() -> HazelcastClient:
        with making:
            if not client:
                members = os.environ["BENCH_OFFICIAL"].split(",")
                client.append(HazelcastClient(cluster_name="blue", cluster_members=members))
        return client[0]

    return _app(official)


def _app(client: Callable[[], Any]) -> Flask:
    app = Flask("bench")
    app.config.from_prefixed_env()

    @app.get("/")
    def value() -> dict[str, object]:
        shop: Any = client().get_map("bench").blocking()
        shop.set("key", 1)
        return {"value": shop.get("key")}

    return app


def measure(runs: int) -> list[Row]:
    """Kill the cluster after half of the time."""
    measured = {name: _measure(name, runs) for name in ("create_app", "create_official_app")}
    ours, theirs = measured.values()
    return [
        Row(
            f"gunicorn with {_WORKERS} workers and {_CLIENTS} visitors through a kill",
            f"{ours.failed} of {ours.requests} requests failed, slowest {ours.slowest * 1000:.0f} ms",
            f"official client: {theirs.failed} of {theirs.requests} without an answer within {_TIMEOUT:g} s",
            "0 failed",
        )
    ]


class _Visits(NamedTuple):
    """The requests of all runs; ``slowest`` is the median of the slowest of each run, seconds."""

    requests: int
    failed: int
    slowest: float


def _measure(app: str, runs: int) -> _Visits:
    requests, failed, slowest = 0, 0, []
    for _ in range(runs):
        with pair() as (blue, green), _serving(app, blue, green) as url:
            took, errors = _load(url, blue)
        requests += len(took)
        failed += errors
        slowest.append(max(took))
    return _Visits(requests, failed, median(slowest))


def _load(url: str, blue: LocalCluster) -> tuple[list[float], int]:
    took: list[float] = []
    errors: list[Exception] = []
    end = time.monotonic() + _SECONDS

    def work() -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                    answer.read()
            except OSError as error:
                errors.append(error)
            took.append(time.perf_counter() - began)

    clients = [threading.Thread(target=work) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(_SECONDS / 2)
    blue.kill()
    for client in clients:
        client.join()
    return took, len(errors)


@contextmanager
def _serving(app: str, blue: LocalCluster, green: LocalCluster) -> Iterator[str]:
    port = free_port()
    urls = " ".join(f"hazelcast://{cluster.name}@{cluster.addresses[0]}" for cluster in (blue, green))
    command = [sys.executable, "-m", "gunicorn", "--workers", str(_WORKERS), "--worker-class", "gthread"]
    command += ["--threads", "4", "--bind", f"127.0.0.1:{port}", f"benchmarks.served:{app}()"]
    environment = os.environ | {
        "FLASK_HAZELCAST_FAILOVER_CLUSTERS": urls,
        "BENCH_OFFICIAL": ",".join(blue.addresses),
    }
    root = Path(__file__).parent.parent
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            until(lambda: _responds(url))
            for _ in range(100):
                _responds(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def _responds(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False
