"""The name of a fleet without a configured one: it consists of the workers of one server."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

# Counts the apps of the same name and identity; changed by atomic steps of a dict and of a counter.
_numbers: dict[tuple[str, tuple[str, ...]], Iterator[int]] = {}


def server_name(app_name: str, *identity: str) -> Callable[[], str]:
    """Return a function that names the fleet of the calling process, by app, host and parent process.

    :param app_name: is shown in the name
    :param identity: what else distinguishes this app from others, such as its path and its clusters
    """
    # Every worker creates its apps in the same order, so that the n-th here is the n-th in the others.
    number = next(_numbers.setdefault((app_name, identity), itertools.count()))

    def name() -> str:
        parent = os.getppid()
        parts = [*identity, str(number), _machine_id(), _start_time(parent)]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
        return f"{app_name}@{socket.gethostname()}/{parent}-{digest}"

    return name


def is_server_worker() -> bool:
    """Whether this process was forked by a server, which forks others after it.

    False in a shell, and in a program that was started by another program.
    """
    own, parent = _command_line("self"), _command_line(str(os.getppid()))
    titles = b"gunicorn: "  # with setproctitle, master and workers have different titles
    return own != b"" and (own == parent or (own.startswith(titles) and parent.startswith(titles)))


def _command_line(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _machine_id() -> str:
    """Distinguishes hosts and containers of the same name."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return booted + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_time(process: int) -> str:
    """Distinguishes a process from an earlier one with the same id."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
