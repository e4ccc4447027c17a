"""What becomes of clients, and of their connections, when the process forks or ends."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["close_in_child", "forget", "look_after", "watch_for_forks"]

_logger = logging.getLogger("flask_hazelcast_failover.client")
_Connection = TypeVar("_Connection")

# How long the exit of the interpreter may take for all clients together, seconds.
_EXIT = 1.0


class _Living(Protocol):
    """What a client does about the life of its process."""

    def _begin_anew(self) -> None:
        """In a forked child: go on without what the parent has."""

    def _let_go(self, deadline: float) -> None:
        """The interpreter ends: be through by ``deadline``, monotonic seconds."""


_living: weakref.WeakSet[_Living] = weakref.WeakSet()
_inherited: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def look_after(client: _Living) -> None:
    """Tell a client when its process was forked or ends, for as long as it is used."""
    _living.add(client)
    watch_for_forks()


def forget(client: _Living) -> None:
    """Tell a client nothing more."""
    _living.discard(client)


def close_in_child(connection: _Connection, close: Callable[[_Connection], object]) -> _Connection:
    """Have a forked child close its copy of a connection, which would keep the parent's from ending.

    :param connection: is returned
    :param close: closes the files, and says nothing to the other side
    """
    _inherited[connection] = close
    return connection


def watch_for_forks() -> None:
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
            client._begin_anew()
        except Exception:
            _logger.exception("unexpected failure in a forked child")
    for connection, close in list(_inherited.items()):
        try:
            close(connection)
        except OSError as failure:
            _logger.debug("already closed: %s", failure)
    _inherited.clear()


@atexit.register
def _ending() -> None:
    deadline = time.monotonic() + _EXIT
    for client in list(_living):
        client._let_go(deadline)


_process = os.getpid()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
