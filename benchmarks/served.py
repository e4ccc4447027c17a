"""An app under gunicorn with 4 workers, under load by HTTP, through a kill of its cluster."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.clusters import pair, until
from benchmarks.table import Row, median
from flask_hazelcast_failover.testing import LocalCluster, free_port

__all__ = ["create_app", "measure"]

_CLIENTS, _WORKERS, _SECONDS = 8, 4, 4.0


def create_app() -> object:
    """The app that is measured."""
    from flask import Flask

    from flask_hazelcast_failover import HazelcastFailover

    ext = HazelcastFailover()
    app = Flask("bench")
    app.config.from_prefixed_env()
    ext.init_app(app)

    @app.get("/")
    def value() -> dict[str, object]:
        shop: Any = ext.client.get_map("bench").blocking()
        shop.set("key", 1)
        return {"value": shop.get("key")}

    return app


def measure(runs: int) -> list[Row]:
    """Half of the time before the kill, half after."""
    failed, slowest, rates = 0, [], []
    for _ in range(runs):
        with pair() as (blue, green), _serving(blue, green) as url:
            took, errors = _load(url, blue)
        failed += errors
        slowest.append(max(took))
        rates.append(len(took) / _SECONDS)
    return [
        Row(
            f"gunicorn with {_WORKERS} workers through a kill",
            f"{failed} failed requests, slowest {median(slowest) * 1000:.0f} ms",
            f"{median(rates):.0f} requests/s by {_CLIENTS} clients",
            "0 failed",
        )
    ]


def _load(url: str, blue: LocalCluster) -> tuple[list[float], int]:
    took: list[float] = []
    errors: list[Exception] = []
    end = time.monotonic() + _SECONDS

    def work() -> None:
        while time.monotonic() < end:
            began = time.perf_counter()
            try:
                with urllib.request.urlopen(url, timeout=30) as answer:
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
def _serving(blue: LocalCluster, green: LocalCluster) -> Iterator[str]:
    port = free_port()
    urls = " ".join(f"hazelcast://{cluster.name}@{cluster.addresses[0]}" for cluster in (blue, green))
    command = [sys.executable, "-m", "gunicorn", "--workers", str(_WORKERS), "--worker-class", "gthread"]
    command += ["--threads", "4", "--bind", f"127.0.0.1:{port}", "benchmarks.served:create_app()"]
    environment = os.environ | {"FLASK_HAZELCAST_FAILOVER_CLUSTERS": urls}
    root = Path(__file__).parent.parent
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}/"
            until(lambda: _answers(url))
            for _ in range(100):
                _answers(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False
