"""redis-py's MultiDBClient, the closest peer in Python, on two redis servers that are killed and frozen the same way."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.table import Row, median
from flask_hazelcast_failover.testing import free_port

__all__ = ["measure"]

_TIMEOUT = 30.0  # seconds


def measure(runs: int) -> list[Row]:
    """With its defaults, and tuned for the fastest failover."""
    server = shutil.which("redis-server")
    try:
        import redis.multidb.client  # noqa: F401
    except ImportError:
        server = None
    if server is None:
        return [
            Row("killed → first answer", "", "redis-py MultiDBClient: not measured, redis is not installed")
        ]
    rows = []
    for what, fault in (("killed", _kill), ("frozen", _freeze)):
        for how, tuned in (("defaults", False), ("tuned", True)):
            took = median([_run(server, tuned, fault) for _ in range(runs)])
            result = f"{took * 1000:,.0f} ms" if took < _TIMEOUT else f"no answer within {_TIMEOUT:g} s"
            rows.append(Row(f"{what} → first answer, redis-py {how}", "", f"MultiDBClient: {result}"))
    return rows


def _kill(primary: subprocess.Popen[bytes]) -> None:
    primary.kill()
    primary.wait()


def _freeze(primary: subprocess.Popen[bytes]) -> None:
    primary.send_signal(signal.SIGSTOP)


def _run(server: str, tuned: bool, fault: Callable[[subprocess.Popen[bytes]], None]) -> float:
    """Return the seconds until an answer, at most the time-out: with the defaults no call may end."""
    answered = threading.Event()
    with _redis(server) as (first, primary), _redis(server) as (second, _):
        client = _client(first, second, tuned)
        client.set("key", "value")
        fault(primary)
        began = time.perf_counter()

        def get() -> None:
            while time.perf_counter() - began < _TIMEOUT:
                try:
                    client.get("key")
                except Exception:
                    time.sleep(0.001)
                else:
                    answered.set()
                    return

        threading.Thread(target=get, daemon=True).start()
        answered.wait(_TIMEOUT)
        took = time.perf_counter() - began
    client.close()  # both servers have ended, so it does not wait
    return took


def _client(first: int, second: int, tuned: bool) -> Any:
    from redis.backoff import NoBackoff
    from redis.multidb.client import MultiDBClient
    from redis.multidb.config import DatabaseConfig, MultiDbConfig
    from redis.retry import Retry

    databases = [
        DatabaseConfig(client_kwargs={"host": "127.0.0.1", "port": port}, weight=weight)
        for port, weight in ((first, 1.0), (second, 0.5))
    ]
    options: dict[str, Any] = {"databases_config": databases}
    if tuned:
        options |= {
            "command_retry": Retry(NoBackoff(), 1),
            "min_num_failures": 1,
            "failure_rate_threshold": 0.01,
            "health_check_interval": 0.1,
            "health_check_probes": 1,
            "health_check_delay": 0.01,
            "health_check_timeout": 1,
        }
    return MultiDBClient(MultiDbConfig(**options))


@contextmanager
def _redis(server: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield port, process
        finally:
            process.kill()
            process.wait()


def _wait_for(port: int) -> None:
    import redis

    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            redis.Redis(port=port).ping()
            return
        except redis.ConnectionError:
            time.sleep(0.02)
    raise TimeoutError("redis-server did not start")
