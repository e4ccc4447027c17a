"""Forks: nothing that our threads hold, or have others hold, is held over one, and a forked child begins anew.

A forked child gets a copy of every lock and of one thread only. A lock that another thread held would be held there for
ever: those of this package are made anew in the child, but a metric's, or a log handler's, are not ours to replace. So
a fork waits until each of our threads rests, and none goes on before the fork is over.

A thread of ours is at work from its start, whatever code it runs, and rests where it waits: each of these waits is
marked with ``resting``. A thread that waits within the code of others, such as a receiver of a signal, does not rest,
since that code may hold a lock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_Owner = TypeVar("_Owner")

_logger = logging.getLogger("flask_hazelcast_failover")

# How long a fork waits for our threads at most, and how often it looks, seconds.
_MAX_WAIT = 1.0
_POLL_INTERVAL = 0.001


class Worker:
    """What a thread of ours does. Written by that thread only."""

    __slots__ = ("foreign_calls", "is_at_work", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_at_work = False
        self.foreign_calls = 0  # how many calls of the code of others it is in


# Thread id -> what it does; each thread writes its own entry.
_workers: dict[int, Worker] = {}
# The threads that are about to fork, each with the names of those it did not wait for any longer; likewise.
_forking: dict[int, list[str]] = {}
# What a forked child makes anew, in the order of registration; single steps of a dict by any thread.
_resets: weakref.WeakKeyDictionary[Any, Callable[[Any], None]] = weakref.WeakKeyDictionary()
_process = os.getpid()  # of the last reset


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """What a thread of ours runs from its start to its end.

    :param name: what it is called in a warning
    """
    worker, me = Worker(name), threading.get_ident()
    _workers[me] = worker
    resume(worker)
    try:
        yield
    finally:
        if _workers.get(me) is worker:
            del _workers[me]


@contextmanager
def resting() -> Iterator[None]:
    """A wait, in which the calling thread holds nothing. Does nothing on a thread that is not ours."""
    worker = rest()
    try:
        yield
    finally:
        if worker is not None:
            resume(worker)


@contextmanager
def in_foreign_code() -> Iterator[None]:
    """A call of the code of others, which may hold anything while it waits."""
    worker = _workers.get(threading.get_ident())
    if worker is None:
        yield
        return
    worker.foreign_calls += 1
    try:
        yield
    finally:
        worker.foreign_calls -= 1


def rest() -> Worker | None:
    """Begin to rest; what is returned, if anything, is to be given to ``resume``. As ``resting``, but faster."""
    worker = _workers.get(threading.get_ident())
    if worker is None or worker.foreign_calls:
        return None
    worker.is_at_work = False
    return worker


def resume(worker: Worker) -> None:
    """Go to work again, once no fork is under way."""
    while True:
        # Set first and looked at the forks afterwards: a fork does it the other way round, so that one sees the other.
        worker.is_at_work = True
        if not _forking:
            return
        worker.is_at_work = False
        while _forking:
            time.sleep(_POLL_INTERVAL)


def reset_in_child(owner: _Owner, reset: Callable[[_Owner], None]) -> None:
    """Have ``reset(owner)`` called in each forked child, for as long as ``owner`` exists.

    :param reset: makes locks anew, above all; must not refer to ``owner``
    """
    _resets[owner] = reset


def after_fork_in_child() -> bool:
    """Begin anew in a forked child, unless that was done before; whether it was done now."""
    global _process
    if _process == os.getpid():
        return False
    _process = os.getpid()
    _workers.clear()
    _forking.clear()
    for owner, reset in list(_resets.items()):
        try:
            reset(owner)
        except Exception:
            _logger.exception("unexpected failure in a forked child")
    return True


def _before_fork() -> None:
    me = threading.get_ident()
    _forking[me] = []
    deadline = time.monotonic() + _MAX_WAIT
    while busy := [one.name for thread, one in _workers.copy().items() if one.is_at_work and thread != me]:
        if time.monotonic() > deadline:
            _forking[me] = busy
            break
        time.sleep(_POLL_INTERVAL)


def _after_fork_in_parent() -> None:
    busy = _forking.pop(threading.get_ident(), [])
    if busy:
        # On a thread of its own: the log handler may be what the busy thread holds.
        threading.Thread(target=_warn, args=(busy,), name="hazelcast-failover-warning", daemon=True).start()


def _warn(busy: list[str]) -> None:
    _logger.warning(
        "a fork has not waited any longer for %s: busy for more than %g s, so the child may hang on a lock"
        " that was held there",
        ", ".join(busy),
        _MAX_WAIT,
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=after_fork_in_child,
    )
