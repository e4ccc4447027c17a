"""Impersonation of threads: members know the holder of a lock by the id of the thread that took it."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache


class _Impersonating:
    """Mixed into a thread class: a thread that can go on under the id of another one."""

    _impersonated: int | None = None  # of this thread only

    @property
    def ident(self) -> int | None:
        """The id of the thread that is impersonated, else its own."""
        own: int | None = super().ident  # type: ignore[misc]
        return own if self._impersonated is None else self._impersonated


def impersonating_thread(target: Callable[[], object], name: str) -> threading.Thread:
    """A daemon thread, not started yet, that can impersonate others."""
    # `threading.Thread` is looked up now, since gevent replaces it: a greenlet can join only threads of gevent's.
    thread: threading.Thread = _subclass(threading.Thread)(target=target, name=name, daemon=True)
    return thread


@cache
def _subclass(base: type[threading.Thread]) -> type[threading.Thread]:
    return types.new_class("ImpersonatingThread", (_Impersonating, base))


@contextmanager
def impersonate(thread: int) -> Iterator[None]:
    """Have the official client use the thread id ``thread`` for the calling thread, if that can impersonate."""
    current = threading.current_thread()
    if not isinstance(current, _Impersonating):
        yield
        return
    current._impersonated = thread
    try:
        yield
    finally:
        current._impersonated = None
