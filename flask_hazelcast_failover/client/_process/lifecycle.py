"""What becomes of clients, and of their connections, when the process forks or ends."""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from flask_hazelcast_failover.client._process.environment import is_patched

__all__ = ["close_in_child", "hook_uwsgi_forks", "register", "unregister"]

_logger = logging.getLogger("flask_hazelcast_failover.client")
_Connection = TypeVar("_Connection")

# How long the exit of the interpreter may take for all clients together, seconds.
_EXIT = 1.0
# How long the parent's greenlets may poll their files in a forked child, seconds: their tick is 10 ms.
_GREENLETS_END = 0.1


class _Living(Protocol):
    """What a client does about the life of its process."""

    def reset_after_fork(self) -> None:
        """In a forked child: go on without what the parent has."""

    def abandon_at_exit(self, deadline: float) -> None:
        """The interpreter ends: be through by ``deadline``, monotonic seconds."""


_Closer = Callable[[], object]
_living: weakref.WeakSet[_Living] = weakref.WeakSet()
_inherited: weakref.WeakKeyDictionary[Any, Callable[[Any], list[_Closer]]] = weakref.WeakKeyDictionary()


def _closer_of_socket(connection: Any) -> list[_Closer]:
    return [connection.close]


def register(client: _Living) -> None:
    """Tell a client when its process was forked or ends, for as long as it is used."""
    _living.add(client)
    hook_uwsgi_forks()


def unregister(client: _Living) -> None:
    """Tell a client nothing more."""
    _living.discard(client)


def close_in_child(
    connection: _Connection, release: Callable[[_Connection], list[_Closer]] = _closer_of_socket
) -> _Connection:
    """Have a forked child close its copy of a connection, which would keep the parent's from ending.

    :param connection: a socket, or whatever ``release`` takes; is returned
    :param release: has nothing happen on it any more, and gives what closes it without a word
    """
    _inherited[connection] = release
    return connection


def hook_uwsgi_forks() -> None:
    """Hear of forks that Python is not told of: uWSGI's, which has a hook of its own for one function."""
    uwsgi = sys.modules.get("uwsgi")
    before = getattr(uwsgi, "post_fork_hook", None)
    if uwsgi is None or isinstance(before, _AfterFork):
        return
    uwsgi.post_fork_hook = _AfterFork(before)  # type: ignore[attr-defined]


class _AfterFork:
    """uWSGI's hook: ours, then the one that was there before."""

    def __init__(self, before: Callable[[], object] | None) -> None:
        self._before = before

    def __call__(self) -> None:
        _forked()
        if self._before is not None:
            self._before()


def _forked() -> None:
    global _process
    if _process == os.getpid():
        return
    _process = os.getpid()
    for client in list(_living):
        try:
            client.reset_after_fork()
        except Exception:
            _logger.exception("unexpected failure in a forked child")
    closers = [close for connection, release in list(_inherited.items()) for close in release(connection)]
    _inherited.clear()
    if is_patched("gevent.monkey", "is_module_patched"):
        _thread.start_new_thread(_close_all, (closers, _GREENLETS_END))
    else:
        _close_all(closers)


def _close_all(closers: list[_Closer], after: float = 0.0) -> None:
    # Parent's greenlets are copied with the process. While one still polls a file, its number must not be
    # given to another one, or the event loop would mix them up.
    if after:
        time.sleep(after)
    for close in closers:
        with suppress(OSError):
            close()


@atexit.register
def _ending() -> None:
    deadline = time.monotonic() + _EXIT
    for client in list(_living):
        client.abandon_at_exit(deadline)


_process = os.getpid()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
