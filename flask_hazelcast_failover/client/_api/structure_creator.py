"""Having members make the structures that were handed out, in the background.

The official client asks a member at once when a proxy is handed out. Ours waits for nobody there: members
would hear of a structure only at its first use, and those who listen for new ones as late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from hazelcast.errors import OperationTimeoutError, TargetDisconnectedError
from hazelcast.future import Future

from flask_hazelcast_failover.client._connect.link import Link, ProxyKey
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor

__all__ = ["StructureCreator"]

_Counted = TypeVar("_Counted")

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How many members are asked for at the same time, and how long after one the next is, seconds.
_IN_FLIGHT = 4
_PACE = 0.005
# How often it is looked whether there still is a cluster to ask, seconds.
_LOOK = 0.05


class StructureCreator:
    """Has members make structures: never after they were destroyed, and never in anybody's way.

    :param route: where operations go
    :param executor: the thread to work on
    """

    def __init__(self, route: Route, executor: SerialExecutor) -> None:
        self._route = route
        self._executor = executor
        self._init_state()

    def add(self, keys: Iterable[ProxyKey]) -> None:
        """Have structures made where operations go now, some time. Waits for nothing."""
        with self._changed:
            self._waiting.update((key, None) for key in keys if key.service and key not in self._doomed)
            starts = bool(self._waiting) and not self._is_working
            self._is_working |= starts
        if starts:
            try:
                self._executor.submit(self._work)
            except RuntimeError:  # no thread can be started: it is made when it is used
                self._stop_working()

    @contextmanager
    def making(self, key: ProxyKey) -> Iterator[bool]:
        """A block in which a structure may be made, if this gives ``True``: it is not being destroyed."""
        with self._changed:
            may = key not in self._doomed
            if may:
                self._claims[key] = self._claims.get(key, 0) + 1
        try:
            yield may
        finally:
            if may:
                with self._changed:
                    _count_down(self._claims, key)
                    self._changed.notify_all()

    @contextmanager
    def destroying(self, key: ProxyKey) -> Iterator[Callable[[float], None]]:
        """A block in which a structure is made by nobody.

        It gives what waits, so many seconds at most, for those who had begun.
        """
        with self._changed:
            self._waiting.pop(key, None)
            self._doomed[key] = self._doomed.get(key, 0) + 1
        try:
            yield partial(self._wait_for_claims, key)
        finally:
            with self._changed:
                _count_down(self._doomed, key)

    def is_busy(self) -> bool:
        """Whether something is to be made, or being made."""
        return bool(self._waiting or self._claims)

    def wait_for_pending(self, seconds: float) -> None:
        """Wait until what was handed out so far is made, so many seconds at most."""
        with self._changed:
            before = {*self._waiting, *self._claims}
            self._changed.wait_for(lambda: not before & {*self._waiting, *self._claims}, seconds)

    def reset_after_fork(self) -> None:
        """Drop what the parent has under way: a forked child does not have its thread."""
        self._init_state()

    def _init_state(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[ProxyKey, None] = {}  # in order; under _changed
        self._claims: dict[ProxyKey, int] = {}  # being made, by how many; under _changed
        self._doomed: dict[ProxyKey, int] = {}  # being destroyed, by how many; under _changed
        self._in_flight: dict[Link, int] = {}  # under _changed
        self._is_working = False  # under _changed

    def _wait_for_claims(self, key: ProxyKey, seconds: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: key not in self._claims, seconds):
                raise OperationTimeoutError(f"{key.name!r} still is being made after {seconds:g} s")

    # On the executor's thread.

    def _work(self) -> None:
        try:
            while (task := self._next()) is not None:
                began = time.monotonic()
                self._create(*task)
                time.sleep(max(0.0, began + _PACE - time.monotonic()))
        except BaseException:
            self._stop_working()
            raise

    def _next(self) -> tuple[ProxyKey, Link] | None:
        """What to make and where, once not too much is in flight; nothing when there is nothing to do."""
        with self._changed:
            while (link := self._route.link) is not None and self._waiting:
                if self._in_flight.get(link, 0) < _IN_FLIGHT:
                    key = next(iter(self._waiting))
                    del self._waiting[key]
                    self._claims[key] = self._claims.get(key, 0) + 1
                    self._in_flight[link] = self._in_flight.get(link, 0) + 1
                    return key, link
                self._changed.wait(_LOOK)
            self._is_working = False  # what is added from now on starts another one
            return None

    def _create(self, key: ProxyKey, link: Link) -> None:
        if link.real(key) is not None:
            self._ended(key, link)
            return
        try:
            # A near cache, and what keeps books as it is made, is there from when it is handed out, as officially.
            keeps_books = link.client.waits_in_constructor(key.service, key.name)
            made = link.obtain(key) if keeps_books else link.client.create(key.service, key.name)
            made.add_done_callback(partial(self._created, key, link))
        except Exception as failure:
            _log(key, link, failure)
            self._ended(key, link)

    def _created(self, key: ProxyKey, link: Link, done: Future[object]) -> None:
        error = None if done.is_success() else done.exception()
        if error is not None:
            _log(key, link, error)
        self._ended(key, link)
        if isinstance(error, TargetDisconnectedError) and link is self._route.link and link.is_connected():
            self.add([key])  # the member that was asked is gone, others are not

    def _ended(self, key: ProxyKey, link: Link) -> None:
        with self._changed:
            _count_down(self._in_flight, link)
            _count_down(self._claims, key)
            self._changed.notify_all()

    def _stop_working(self) -> None:
        with self._changed:
            self._is_working = False


def _log(key: ProxyKey, link: Link, failure: BaseException) -> None:
    _logger.debug("%s %r is not made on %s beforehand: %s", key.structure, key.name, link.label, failure)


def _count_down(counts: dict[_Counted, int], counted: _Counted) -> None:
    counts[counted] -= 1
    if not counts[counted]:
        del counts[counted]
