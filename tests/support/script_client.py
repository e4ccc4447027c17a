"""Functions for the programs of `tests.support.scripts`, which import them in their own processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from flask_hazelcast_failover import FailoverConfig, HazelcastClient


def make_client(clusters: dict[str, list[str]], options: dict[str, Any]) -> HazelcastClient:
    """Return a client of clusters given by name, in this order."""
    config = FailoverConfig()
    for name, addresses in clusters.items():
        config.add_cluster(name, addresses, known_members=False)
    return HazelcastClient(config, **options)


def child(task: Callable[[], object], within: float = 10.0) -> int:
    """Run a task in a forked child and return its id; `ends_well` waits for it."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.alarm(int(within))  # ends a child that hangs, with an error
        task()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def ends_well(*pids: int) -> None:
    """Wait for children; each must have ended without an error."""
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"child {pid} ended with {status}"


def in_child(task: Callable[[], object], within: float = 10.0) -> None:
    """Run a task in a forked child and wait for it."""
    ends_well(child(task, within))


def soon(condition: Callable[[], object], within: float = 5.0) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s"
        time.sleep(0.01)


def is_at_rest(client: HazelcastClient) -> bool:
    """Whether no operation is in flight or waits, and no thread is in a section or holds a lock."""
    links = client._runtime.engine.links.all()
    is_counted = any(link.calls or link.locks for link in links)
    return not (is_counted or client._operations.sections or client.operation_counts().waiting)


def sockets() -> set[int]:
    """The local ports of this process's open TCP connections."""
    import psutil

    return {
        connection.laddr.port
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED
    }


def repeatedly(
    task: Callable[[], object], stop: threading.Event, errors: list[BaseException]
) -> threading.Thread:
    """Run a task on a thread again and again until `stop` is set or it fails."""

    def work() -> None:
        while not stop.is_set():
            try:
                task()
            except BaseException as error:
                errors.append(error)
                return

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def use_in_process(clusters: dict[str, list[str]], name: str) -> None:
    """Use, in a child of multiprocessing, the map of the parent if it was forked, else one of its own."""
    users: Any = globals().get("users") or make_client(clusters, {}).get_map(name).blocking()
    assert users.get("parent") == 1
    users.set("child", 2)
