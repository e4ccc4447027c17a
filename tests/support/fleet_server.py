"""Apps served by gunicorn."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from flask_hazelcast_failover.testing import free_port
from tests.support.apps import TOKEN
from tests.support.waiting import eventually

_ROOT = Path(__file__).parents[2]


class Server:
    """One gunicorn with its workers, controlled over HTTP."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, workers: int, events: Path) -> None:
        self.process = process
        self.workers = workers
        self.url = f"http://127.0.0.1:{port}"
        self._events = events

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer of any worker."""
        try:
            return self._request(Request(self.url + path))[1]
        except OSError as error:  # no worker listens, or it has just been restarted
            raise AssertionError(f"no answer: {error}") from error

    def post(self, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        """The status code and the answer."""
        content = json.dumps(body).encode()
        request = Request(self.url + path, content, {"Content-Type": "application/json"}, method="POST")
        return self._request(request)

    def statuses(self) -> dict[str, dict[str, Any]]:
        """The status of each worker, by its id, asked until every worker has answered."""
        found: dict[str, dict[str, Any]] = {}

        def all_have_answered() -> bool:
            with ThreadPoolExecutor(2 * self.workers) as pool:
                answers = list(pool.map(self.get, ["/hazelcast/status"] * 2 * self.workers))
            found.update({status["worker"]: status for status in answers})
            return len(found) >= self.workers

        eventually(all_have_answered, within=20)
        return found

    def places(self) -> list[str | None]:
        """The cluster of each worker."""
        return [status["current_cluster"] for status in self.statuses().values()]

    def visited(self) -> None:
        """Return once every worker has used its client and knows of every other one."""

        def all_know_all() -> bool:
            with ThreadPoolExecutor(2 * self.workers) as pool:
                list(pool.map(self.get, ["/visits"] * 2 * self.workers))
            return all(
                len(status["fleet"]["workers"]) == self.workers
                and {cluster["state"] for cluster in status["clusters"]} <= {"active", "standby", "down"}
                for status in self.statuses().values()
            )

        eventually(all_know_all, within=20)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of all workers."""
        lines = self._events.read_text().splitlines() if self._events.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def _request(self, request: Request) -> tuple[int, dict[str, Any]]:
        request.add_header("Authorization", f"Bearer {TOKEN}")
        try:
            with urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


def environment_of(events: Path, clusters: list[str], **settings: object) -> dict[str, str]:
    """What `tests.support.fleet_app` finds in its environment; `settings` are keys without their prefix."""
    given = {"CLUSTERS": clusters, "ADMIN_TOKEN": TOKEN} | settings
    found = {f"FLASK_HAZELCAST_FAILOVER_{key}": json.dumps(value) for key, value in given.items()}
    return found | {"EVENTS": str(events), "PYTHONUNBUFFERED": "1"}


@contextmanager
def serve(
    directory: Path,
    clusters: list[str],
    workers: int = 1,
    arguments: tuple[str, ...] = (),
    **settings: object,
) -> Iterator[Server]:
    """Serve `tests.support.fleet_app`; `settings` are keys without their prefix."""
    port = free_port()
    events = directory / f"events-{port}"
    command = [sys.executable, "-m", "gunicorn", "tests.support.fleet_app:create_app()"]
    command += ["--bind", f"127.0.0.1:{port}", "--workers", str(workers), "--graceful-timeout", "2"]
    log = directory / f"log-{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=_ROOT,
            env=os.environ | environment_of(events, clusters, **settings),
            stdout=output,
            stderr=output,
        )
    try:
        server = Server(process, port, workers, events)
        eventually(lambda: _is_up(server, process, log), within=40)
        yield server
    except BaseException:
        sys.stderr.write(log.read_text())
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"gunicorn has ended: {log.read_text()}")
    return bool(server.get("/hazelcast/health/live"))
