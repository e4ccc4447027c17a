"""Locks, and what holds some, of objects that exist from the import on: made then, they would not be gevent's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Made = TypeVar("_Made")


def made_late(made: dict[object, _Made], make: Callable[[], _Made]) -> _Made:
    """What an object needs, made when it is first used, and anew once gevent has patched the threads.

    :param made: where the object keeps it; empty at first and after a fork
    :param make: may be called for nothing by several threads, which all get the same result
    """
    # gevent's patch replaces `threading.local`. Single steps of a dict are atomic.
    kind = threading.local
    return made[kind] if kind in made else made.setdefault(kind, make())
