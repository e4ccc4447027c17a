"""The name of a fleet that was given none: the workers of one server."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["is_server_worker", "server_name"]

_lock = threading.Lock()
_numbers: defaultdict[tuple[str, tuple[str, ...]], Iterator[int]] = defaultdict(
    itertools.count
)  # under _lock


def server_name(app_name: str, *identity: str) -> Callable[[], str]:
    """A function that gives the name for the process that calls it: app, host and parent process.

    :param app_name: is shown in the name
    :param identity: what else tells this app from others, such as its path and its clusters
    """
    # Every worker makes its apps in the same order, so that the n-th here is the n-th there.
    with _lock:
        number = next(_numbers[(app_name, identity)])

    def name() -> str:
        parent = os.getppid()
        known = [*identity, str(number), _machine(), _began(parent)]
        digest = hashlib.sha256("\0".join(known).encode()).hexdigest()[:8]
        return f"{app_name}@{socket.gethostname()}/{parent}-{digest}"

    return name


def is_server_worker() -> bool:
    """Whether the parent process is a server that has forked this one, and forks others after it.

    A shell, or a program that starts this one as another program, is none.
    """
    own, parent = _command("self"), _command(str(os.getppid()))
    titles = b"gunicorn: "  # with setproctitle, which tells a master from a worker
    return own != b"" and (own == parent or (own.startswith(titles) and parent.startswith(titles)))


def _command(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _machine() -> str:
    """What tells hosts and containers apart that have the same name."""
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return booted + str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _began(process: int) -> str:
    """When a process began, which tells it from an earlier one with the same number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
