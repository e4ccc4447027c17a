"""Real servers, gunicorn and uWSGI, with a small app on real clusters."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.support.apps import TOKEN, absent, url_of
from tests.support.waiting import eventually


class ServerEnded(Exception):
    """A server ended before all its workers were used; the message is its log."""


@dataclass
class Served:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> tuple[int, Any]:
        """Get a path with the admin token; return the status code and the JSON or text."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {TOKEN}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, _body(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _body(error.read())

    def stop(self) -> None:
        """End the server and its workers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def serve(
    *clusters: LocalCluster | str,
    workers: int = 1,
    worker_class: str = "gthread",
    script_name: str = "",
    app: str = "tests.support.served_app:create_app()",
    arguments: tuple[str, ...] = (),
) -> AbstractContextManager[Served]:
    """Serve an app by gunicorn on these clusters, or on absent ones given by name. Each worker was used once."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    command += ["--worker-class", worker_class, "--graceful-timeout", "2", *arguments]
    if worker_class == "gthread":
        command += ["--threads", "4"]
    return _serving([*command, app], port, clusters, workers, script_name)


def serve_with_uwsgi(
    *clusters: LocalCluster,
    workers: int = 2,
    app: str = "tests.support.served_app:create_app()",
    arguments: tuple[str, ...] = (),
) -> AbstractContextManager[Served]:
    """Serve an app by uWSGI on these clusters. Each worker was used once."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("uwsgi")), "--http-socket", f"127.0.0.1:{port}", "--master"]
    command += ["--processes", str(workers), "--module", app, "--need-app", "--die-on-term", *arguments]
    return _serving(command, port, clusters, workers)


@contextmanager
def _serving(
    command: list[str], port: int, clusters: Sequence[LocalCluster | str], workers: int, script_name: str = ""
) -> Iterator[Served]:
    urls = [absent(cluster) if isinstance(cluster, str) else url_of(cluster) for cluster in clusters]
    environment = os.environ | {
        "FLASK_HAZELCAST_FAILOVER_CLUSTERS": json.dumps(urls),
        "FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN": TOKEN,
        "FLASK_HAZELCAST_FAILOVER_RETRY_DELAY": "0.01",
        "FLASK_HAZELCAST_FAILOVER_HEALTH_CHECK_INTERVAL": "0.5",
        "SCRIPT_NAME": script_name,
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        served = Served(f"http://127.0.0.1:{port}{script_name}", process)
        try:
            eventually(lambda: process.poll() is not None or _accepts(port), within=30.0)
            _use_every_worker(served, workers)
            yield served
        except ServerEnded as error:
            raise ServerEnded(_text(log)) from error
        except BaseException:
            sys.stderr.write(_text(log))
            raise
        finally:
            served.stop()


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")


def _accepts(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _use_every_worker(served: Served, workers: int) -> None:
    seen: set[int] = set()

    def use(_: int) -> None:
        try:
            served.get("/hazelcast/health")
            seen.add(int(served.get("/visit")[1]))
        except (OSError, ValueError):
            pass  # not ready yet

    # At the same time, or one worker would answer all requests.
    with ThreadPoolExecutor(4 * workers) as requests:

        def used() -> bool:
            if served.process.poll() is not None:
                raise ServerEnded
            list(requests.map(use, range(4 * workers)))
            return len(seen) >= workers

        eventually(used, within=30.0)


def _body(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode()
