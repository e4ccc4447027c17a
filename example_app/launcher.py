"""Starts and stops the shop on this machine: two clusters and gunicorn.

All of them end with this process, whatever ends it.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from example_app import gunicorn_conf
from example_app.control import Channel, Command, command_server
from flask_hazelcast_failover.testing import LocalCluster, start_together
from flask_hazelcast_failover.testing._guard import guard

__all__ = ["Buttons", "Shop", "ShopError", "open_shop"]

_HOST = "127.0.0.1"
_START_TIMEOUT = 20.0  # seconds
_STOP_TIMEOUT = gunicorn_conf.graceful_timeout + 2.0
_CONFIGURATION = Path(gunicorn_conf.__file__)


class ShopError(Exception):
    """The shop did not open. The message says why."""


class Buttons(Enum):
    """Whether the pages have buttons that kill clusters."""

    SHOWN = "shown"
    HIDDEN = "hidden"


@dataclass(frozen=True)
class Shop:
    """A running shop. The primary is the first of its clusters."""

    clusters: tuple[LocalCluster, ...]
    port: int
    admin_token: str = field(repr=False)
    process: subprocess.Popen[bytes]
    configuration: Mapping[str, str] = field(repr=False)  # as environment variables

    @property
    def url(self) -> str:
        """The address of the front page, without the slash at its end."""
        return f"http://{_HOST}:{self.port}"


@contextmanager
def open_shop(preferred_port: int, buttons: Buttons, log: IO[bytes] | None = None) -> Iterator[Shop]:
    """Start two clusters and the shop on them; stop all when the block ends.

    preferred_port: any other is used if it is taken; 0 for any.
    log: for the output of gunicorn; this process's standard error if None.

    Raises LocalClusterError if a cluster cannot be started, ShopError if gunicorn cannot.
    """
    blue, green = LocalCluster("blue"), LocalCluster("green")
    start_together(blue, green)
    with blue, green, _listening_socket(preferred_port) as listener:
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(12)
        with command_server(_commands(blue, green)) as channel, TemporaryDirectory() as metrics:
            configuration = _configuration((blue, green), token)
            extra = _channel_settings(channel) if buttons is Buttons.SHOWN else {}
            extra["PROMETHEUS_MULTIPROC_DIR"] = metrics  # shared by the workers
            with _gunicorn(listener, configuration | extra, log) as process:
                _wait_until_open(process, port)
                yield Shop((blue, green), port, token, process, configuration)


def _commands(*clusters: LocalCluster) -> dict[str, Command]:
    """The commands of the buttons."""

    def kill(cluster: LocalCluster) -> str:
        cluster.kill()
        return "killed"

    def restart(cluster: LocalCluster) -> str:
        if cluster not in running():
            cluster.restart()
        return "restarted"

    def running() -> list[LocalCluster]:
        return [cluster for cluster in clusters if all(member.alive for member in cluster.members)]

    def names_of_running() -> str:
        return " ".join(cluster.name for cluster in running())

    commands: dict[str, Command] = {"running": names_of_running}
    for cluster in clusters:
        commands[f"kill {cluster.name}"] = partial(kill, cluster)
        commands[f"restart {cluster.name}"] = partial(restart, cluster)
    return commands


def _configuration(clusters: tuple[LocalCluster, ...], admin_token: str) -> dict[str, str]:
    """The shop's configuration, as environment variables like on a server."""
    return {
        "FLASK_APP": "example_app",
        "FLASK_SECRET_KEY": secrets.token_urlsafe(32),
        "FLASK_HAZELCAST_FAILOVER_CLUSTERS": " ".join(
            f"hazelcast://{cluster.name}@{','.join(cluster.addresses)}?priority={priority}"
            for priority, cluster in enumerate(clusters)
        ),
        "FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN": admin_token,
        # A name, so that `flask hazelcast` in a shell controls the processes that serve the shop.
        "FLASK_HAZELCAST_FAILOVER_FLEET": f"shop-{os.getpid()}",
    }


def _channel_settings(channel: Channel) -> dict[str, str]:
    return {"FLASK_SHOP_CONTROL_PORT": str(channel.port), "FLASK_SHOP_CONTROL_SECRET": channel.secret}


def _listening_socket(preferred_port: int) -> socket.socket:
    try:
        return socket.create_server((_HOST, preferred_port), backlog=512)
    except OSError:
        return socket.create_server((_HOST, 0), backlog=512)


@contextmanager
def _gunicorn(
    listener: socket.socket, environment: Mapping[str, str], log: IO[bytes] | None
) -> Iterator[subprocess.Popen[bytes]]:
    # gunicorn inherits the open socket: the port cannot be taken meanwhile, and early visitors wait instead of failing.
    listener.set_inheritable(True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--config", str(_CONFIGURATION)),
            *("--bind", f"fd://{listener.fileno()}", "example_app:create_app()"),
        ],
        cwd=_CONFIGURATION.parents[1],
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        stdout=log,
        stderr=log,
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl-C in a terminal does not reach it
    )
    listener.close()
    guard.watch(process.pid)
    try:
        yield process
    finally:
        _end(process)
        guard.forget(process.pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # gunicorn and its workers
        process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, port, timeout=1.0)
        try:
            connection.request("GET", "/hazelcast/health/live")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
    raise ShopError(f"the shop did not open within {_START_TIMEOUT:g} s; gunicorn's log says why")
