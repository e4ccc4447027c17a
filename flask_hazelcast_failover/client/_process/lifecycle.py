"""Forks and exits of the process: resets clients in a forked child, abandons them at exit."""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from ..._threads.forks import after_fork_in_child, reset_in_child
from .environment import is_patched

_Connection = TypeVar("_Connection")

# How long all clients together may take at exit, seconds.
_EXIT_TIMEOUT = 1.0
# How long the parent's greenlets may poll their files in a forked child, seconds: their tick is 10 ms.
_GREENLET_GRACE = 0.1


class _ProcessBound(Protocol):
    """A client, which has to follow its process."""

    def reset_after_fork(self) -> None:
        """In a forked child: start without the parent's threads and connections."""

    def abandon_at_exit(self, deadline: float) -> None:
        """The interpreter exits: return by ``deadline``, monotonic seconds."""


_Closer = Callable[[], object]
_clients: weakref.WeakSet[_ProcessBound] = weakref.WeakSet()
_inherited: weakref.WeakKeyDictionary[Any, Callable[[Any], list[_Closer]]] = weakref.WeakKeyDictionary()


def register(client: _ProcessBound) -> None:
    """Notify a client of forks and of the exit of its process."""
    _clients.add(client)
    reset_in_child(client, _reset)
    hook_uwsgi_forks()


def unregister(client: _ProcessBound) -> None:
    """Stop notifying a client."""
    _clients.discard(client)


def _closer_of_socket(connection: Any) -> list[_Closer]:
    return [connection.close]


def close_in_child(
    connection: _Connection, detach: Callable[[_Connection], list[_Closer]] = _closer_of_socket
) -> _Connection:
    """Have a forked child close its copy of a connection, which would keep the parent's open.

    :param connection: a socket, or whatever ``detach`` takes; is returned
    :param detach: detaches it from its loop, and returns callables that close it without notifying the peer
    """
    _inherited[connection] = detach
    return connection


def hook_uwsgi_forks() -> None:
    """Install a hook for uWSGI's forks, which Python's own hooks do not see. uWSGI has room for one function."""
    uwsgi = sys.modules.get("uwsgi")
    before = getattr(uwsgi, "post_fork_hook", None)
    if uwsgi is None or isinstance(before, _AfterFork):
        return
    uwsgi.post_fork_hook = _AfterFork(before)  # type: ignore[attr-defined]


class _AfterFork:
    """uWSGI's hook: this one, then the one that was installed before."""

    def __init__(self, before: Callable[[], object] | None) -> None:
        self._before = before

    def __call__(self) -> None:
        if after_fork_in_child():
            _close_inherited()
        if self._before is not None:
            self._before()


def _reset(client: _ProcessBound) -> None:
    if client in _clients:
        client.reset_after_fork()


def _close_inherited() -> None:
    closers = [close for connection, detach in list(_inherited.items()) for close in detach(connection)]
    _inherited.clear()
    if is_patched("gevent.monkey", "is_module_patched"):
        _thread.start_new_thread(_close_all, (closers, _GREENLET_GRACE))
    else:
        _close_all(closers)


def _close_all(closers: list[_Closer], after: float = 0.0) -> None:
    # The fork copies the parent's greenlets. While one polls a file, the file's number must not be reused,
    # or gevent's loop would mix up the two files.
    if after:
        time.sleep(after)
    for close in closers:
        with suppress(OSError):
            close()


@atexit.register
def _at_exit() -> None:
    deadline = time.monotonic() + _EXIT_TIMEOUT
    for client in list(_clients):
        client.abandon_at_exit(deadline)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
