"""Has members create the structures that the app has got by name, in the background.

The official client has a member create a structure before ``get_map()`` returns. Ours returns without waiting. Without
this module members would create the structure at its first use, and notify listeners for new structures as late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from hazelcast.errors import OperationTimeoutError, TargetDisconnectedError
from hazelcast.future import Future

from ..._threads import Notifier, resting
from .._connect.link import Link, ProxyKey
from .._operations.route import Route
from .._process.serial_executor import SerialExecutor

_Key = TypeVar("_Key")

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How many structures are created at the same time, and the seconds from one to the next.
_MAX_IN_FLIGHT = 4
_INTERVAL = 0.005
# How often it checks whether a cluster is active, while it waits for creations, seconds.
_POLL_INTERVAL = 0.05


class StructureCreator:
    """Has members create structures, slowly enough not to delay operations, and never after they were destroyed."""

    def __init__(self, route: Route, executor: SerialExecutor) -> None:
        self._route = route
        self._executor = executor
        self._changes = Notifier()  # of all that follows
        self._lock = threading.Lock()
        self._waiting: dict[ProxyKey, None] = {}  # in order; under _lock
        # How often each structure is being created or destroyed, and how many on each link; under _lock.
        self._creating: Counter[ProxyKey] = Counter()
        self._being_destroyed: Counter[ProxyKey] = Counter()
        self._in_flight: Counter[Link] = Counter()
        self._is_working = False  # under _lock

    def add(self, keys: Iterable[ProxyKey]) -> None:
        """Have structures created on the active cluster soon. Does not wait."""
        with self._lock:
            wanted = (key for key in keys if key.service and key not in self._being_destroyed)
            self._waiting.update(dict.fromkeys(wanted))
            starts = bool(self._waiting) and not self._is_working
            self._is_working |= starts
        if starts:
            try:
                self._executor.submit(self._work)
            except RuntimeError:  # no thread can be started: they are created at their first use
                self._stop_working()

    @contextmanager
    def creating(self, key: ProxyKey) -> Iterator[bool]:
        """A block in which a structure may be created if this gives ``True``, and must not while it is destroyed."""
        with self._lock:
            is_allowed = key not in self._being_destroyed
            if is_allowed:
                self._creating[key] += 1
        try:
            yield is_allowed
        finally:
            if is_allowed:
                with self._lock:
                    _count_down(self._creating, key)
                self._changes.notify()

    @contextmanager
    def destroying(self, key: ProxyKey) -> Iterator[Callable[[float], None]]:
        """A block in which no creation of a structure begins.

        It gives a function that waits, so many seconds at most, for those that had begun before.
        """
        with self._lock:
            self._waiting.pop(key, None)
            self._being_destroyed[key] += 1
        try:
            yield partial(self._wait_for_creations, key)
        finally:
            with self._lock:
                _count_down(self._being_destroyed, key)

    def is_busy(self) -> bool:
        """Whether a structure is to be created, or being created."""
        return bool(self._waiting or self._creating)

    def wait_for_pending(self, seconds: float) -> None:
        """Wait until the structures added so far are created, so many seconds at most."""
        before = self._pending()
        self._changes.wait_for(lambda: not before & self._pending(), seconds)

    def _wait_for_creations(self, key: ProxyKey, seconds: float) -> None:
        if not self._changes.wait_for(lambda: key not in self._creating, seconds):
            raise OperationTimeoutError(f"{key.name!r} still is being created after {seconds:g} s")

    def _pending(self) -> set[ProxyKey]:
        with self._lock:
            return {*self._waiting, *self._creating}

    # On the executor's thread.

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                began = time.monotonic()
                self._create(*task)
                with resting():
                    time.sleep(max(0.0, began + _INTERVAL - time.monotonic()))
        except BaseException:
            self._stop_working()
            raise

    def _next(self) -> tuple[ProxyKey, Link] | None:
        # Waits while too many creations are in flight; None ends the work.
        while True:
            with self._lock:
                link = self._route.link
                if link is None or not self._waiting:
                    self._is_working = False  # what is added from now on starts _work again
                    return None
                if self._in_flight[link] < _MAX_IN_FLIGHT:
                    key = next(iter(self._waiting))
                    del self._waiting[key]
                    self._creating[key] += 1
                    self._in_flight[link] += 1
                    return key, link
            self._changes.wait_for(lambda: self._in_flight[link] < _MAX_IN_FLIGHT, _POLL_INTERVAL)  # noqa: B023

    def _create(self, key: ProxyKey, link: Link) -> None:
        if link.real(key) is not None:
            self._ended(key, link)
            return
        try:
            # As in the official client, a map is cached near from get_map() on: its proxy is made now, and so are
            # the others whose constructors send requests.
            needs_proxy = link.client.waits_in_constructor(key.service, key.name)
            created = link.obtain(key) if needs_proxy else link.client.create(key.service, key.name)
            created.add_done_callback(partial(self._created, key, link))
        except Exception as failure:
            _log(key, link, failure)
            self._ended(key, link)

    def _created(self, key: ProxyKey, link: Link, done: Future[object]) -> None:
        error = None if done.is_success() else done.exception()
        if error is not None:
            _log(key, link, error)
        self._ended(key, link)
        if isinstance(error, TargetDisconnectedError) and link is self._route.link and link.is_connected():
            self.add([key])  # only the member that got the request is gone

    def _ended(self, key: ProxyKey, link: Link) -> None:
        with self._lock:
            _count_down(self._in_flight, link)
            _count_down(self._creating, key)
        self._changes.notify()

    def _stop_working(self) -> None:
        with self._lock:
            self._is_working = False


def _log(key: ProxyKey, link: Link, failure: BaseException) -> None:
    _logger.debug("%s %r is not created on %s beforehand: %s", key.structure, key.name, link.label, failure)


def _count_down(counts: Counter[_Key], key: _Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
