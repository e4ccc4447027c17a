"""A link: one open connection to one cluster, its real proxies and the operations in flight on it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from hazelcast.errors import HazelcastError, TargetDisconnectedError
from hazelcast.future import Future, ImmediateFuture

from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client._official import OfficialClient

__all__ = [
    "STARTING",
    "Call",
    "CallInFlight",
    "Link",
    "LinkEnded",
    "Overdue",
    "ProxyKey",
    "next_call_number",
    "on_thread",
]

next_call_number = itertools.count(1).__next__


class LinkEnded(HazelcastError):
    """The link that the operation was in flight on is gone."""


class Overdue(HazelcastError):
    """The operation was not answered in time by a cluster that lives."""


class ProxyKey(NamedTuple):
    """Which structure: its official class, the service it belongs to and its name."""

    structure: str
    service: str
    name: str


CLIENT = ProxyKey("HazelcastClient", "", "")
"""Stands for the official client itself, for what belongs to no structure."""


class Call(NamedTuple):
    """What an operation in flight waits for, and for how many seconds at most."""

    future: Future[Any]
    limit: float


# An operation that was counted in and does not wait yet.
STARTING = Call(ImmediateFuture(None), float("inf"))


class CallInFlight:
    """One operation in flight, counted in on a link until it ends. Each method is one atomic step of a dict."""

    __slots__ = ("_number", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self._number = next_call_number()
        link.calls[self._number] = STARTING

    def expect(self, future: Future[Any], limit: float | None = None) -> None:
        """Have ``future`` fail when the link ends or ``limit`` seconds are over.

        :param limit: seconds; ``operation_timeout`` if ``None``
        """
        self.link.calls[self._number] = future if limit is None else Call(future, limit)

    def wait_for_proxy(self, key: ProxyKey) -> Any:
        """The real proxy on the link, made if need be."""
        real = self.link.real(key)
        if real is None:
            obtained = self.link.obtain(key)
            self.expect(obtained)
            real = obtained.result()
            self.link.calls[self._number] = STARTING
        return real

    def end(self) -> bool:
        """Count the operation out; ``False`` if it was before."""
        return self.link.calls.pop(self._number, None) is not None


# A proxy that others have waited for so long is asked for once more, seconds: the member may be frozen.
_SHARED = 1.0


class _Making:
    """A real proxy that is being made, for whoever asks for it meanwhile."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.made: Future[Any] = Future()
        self.is_wanted = True  # to be kept once it is made; under the link's lock


class Link:
    """One open connection to one cluster.

    :param label: the cluster's label
    :param index: the cluster's place in the order of priority
    :param client: the open official client, this link's own
    """

    def __init__(self, label: str, index: int, client: OfficialClient) -> None:
        self.label = label
        self.index = index
        self.client = client
        # Set by the controller's thread before the link is published, not changed afterwards:
        self.epoch = 0
        self.data_id = 0  # the same number means: the same cluster with the same data
        self.visit_id = 0  # the same number means: and the client has not been anywhere else since
        # Each thread writes and deletes its own numbers, the controller and the health monitor read: single steps of a
        # dict. A bare future may wait for as long as the client's operations usually may.
        self.calls: dict[int, Call | Future[Any]] = {}
        self._seen: dict[
            int, float
        ] = {}  # number -> when the health monitor first saw it; of the health monitor's thread
        self._reals: dict[ProxyKey, Any] = {CLIENT: client}  # likewise
        # Listener id -> how it is registered here; under the lock of Listeners.
        self.registrations: dict[str, Any] = {}
        # Who holds a lock here, how often; under the lock of Bonds. Shared with the link that takes this one's place.
        self.locks: dict[Any, int] = {}
        self.follows_members = False  # set once, by the controller
        self._lock = threading.Lock()
        self._makings: dict[ProxyKey, list[_Making]] = {}  # under _lock
        # Told of each proxy that is made here; set once, by whoever opened the link.
        self.made: Callable[[ProxyKey], None] = lambda _: None
        # Whether somebody uses a structure, which may have been destroyed meanwhile; likewise.
        self.is_used: Callable[[ProxyKey], bool] = lambda _: True

    def members(self) -> frozenset[UUID]:
        """The members that the cluster says it has."""
        return frozenset(member.uuid for member in self.client.member_list() if member.uuid)

    def member_addresses(self) -> frozenset[str]:
        """Where these members are, "host:port"."""
        return frozenset(f"{m.address.host}:{m.address.port}" for m in self.client.member_list())

    def known_cluster(self) -> KnownCluster:
        """The cluster as it is now, to be found again."""
        return KnownCluster(self.client.cluster_id, self.client.member_places(), self.client.identity)

    def continue_from(self, former: Link) -> None:
        """Take the place of a link to the same cluster with the same data, whose locks the members still know.

        Called by the controller's thread before the link is published.
        """
        if self.continues(former):
            self.locks = former.locks

    def continues(self, former: Link) -> bool:
        """Whether the members take requests over this link for those of a former one, on the same data."""
        return former.visit_id == self.visit_id and former.client.identity == self.client.identity

    def is_connected(self) -> bool:
        """Whether a connection to at least one member is open."""
        return bool(self.client.connected_members())

    def real(self, key: ProxyKey) -> Any | None:
        """The real proxy, if it was made on this link before."""
        return self._reals.get(key)

    def obtain(self, key: ProxyKey) -> Future[Any]:
        """Have the real proxy made; the future ends with the link at the latest."""
        real = self._reals.get(key)
        if real is not None:
            return ImmediateFuture(real)
        own: Future[Any] = Future()
        mine: _Making | None = None
        with self._lock:
            if (real := self._reals.get(key)) is not None:
                return ImmediateFuture(real)  # made right then
            makings = self._makings.setdefault(key, [])
            if not makings or time.monotonic() - makings[-1].began > _SHARED:
                mine = _Making()
                makings.append(mine)
            makings[-1].made.add_done_callback(partial(_pass_on, own))
        if mine is not None:
            try:
                self._make(key).add_done_callback(partial(self._is_made, key, mine))
            except BaseException as error:
                self._end(key, mine)
                of_others = error if isinstance(error, Exception) else TargetDisconnectedError("interrupted")
                mine.made.set_exception(of_others)
                raise
        return own

    def take_back(self, key: ProxyKey) -> Any | None:
        """Give the real proxy to nobody any more, nor one that is being made, and return it."""
        with self._lock:
            for making in self._makings.get(key, ()):
                making.is_wanted = False
            return self._reals.pop(key, None)

    def forget(self, key: ProxyKey) -> None:
        """Drop whatever is known here of a structure that was destroyed. Nothing happens on the members."""
        if (real := self.take_back(key)) is not None:
            self.client.forget(real)
        if key.service:
            self.client.forget_listed(key.service, key.name)

    def proxy_keys(self) -> list[ProxyKey]:
        """Every proxy that was used on this link."""
        return [key for key in list(self._reals) if key != CLIENT]

    def end_overdue(self, now: float, usual: float) -> None:
        """End the operations that wait for longer than they may. For the health monitor's thread.

        Looking at the clock here saves every operation from doing so.

        :param now: seconds, by the health monitor's own time
        :param usual: how many seconds a call without a limit of its own may wait
        """
        calls = self.calls.copy()
        self._seen = {number: self._seen.get(number, now) for number in calls}
        for number, call in calls.items():
            future, limit = call if isinstance(call, Call) else (call, usual)
            if now - self._seen[number] > limit and not future.done():
                future.set_exception(Overdue(f"no answer for {limit:g} s"))

    def end_calls(self) -> None:
        """End every operation in flight. Called again until none is left, since one may just start."""
        for call in list(self.calls.values()):
            future = call.future if isinstance(call, Call) else call
            if call is not STARTING and not future.done():
                future.set_exception(LinkEnded(f"the connection to {self.label} is gone"))

    def count_until_done(self, future: Future[Any], limit: float) -> None:
        """Count a request in flight until ``future`` is done, which is after ``limit`` seconds at most."""
        call = CallInFlight(self)
        call.expect(future, limit)

        def done(_: Future[Any]) -> None:
            call.end()

        future.add_done_callback(done)

    @property
    def remains(self) -> int:
        """What would be lost with this link: operations in flight and locks held."""
        return len(self.calls) + len(self.locks)

    @property
    def is_idle(self) -> bool:
        """Whether no operation is in flight."""
        return not self.calls

    def _make(self, key: ProxyKey) -> Future[Any]:
        if not key.service:
            return on_thread(lambda: self._cp_proxy(key))
        if self.client.waits_in_constructor(key.service, key.name):
            return on_thread(lambda: self.client.construct(key.service, key.name))
        return self.client.create_proxy(key.service, key.name)

    def _is_made(self, key: ProxyKey, making: _Making, done: Future[Any]) -> None:
        if not done.is_success():
            self._end(key, making)
            making.made.set_exception(done.exception(), done.traceback())  # type: ignore[arg-type]
            return
        real = made = done.result()
        try:
            is_kept = self._end(key, making, made)
            if is_kept:
                real = self._reals.get(key, made)
            if not is_kept or real is not made:
                self.client.forget(made)
            if is_kept and self.is_used(key):  # looked at last: who destroys it says so, and then looks here
                self.made(key)
            elif is_kept:
                self.forget(key)
        finally:
            making.made.set_result(real)

    def _end(self, key: ProxyKey, making: _Making, made: Any = None) -> bool:
        """End a making, and keep what was made if it still is wanted."""
        with self._lock:
            makings = self._makings[key]
            makings.remove(making)
            if not makings:
                del self._makings[key]
            if making.is_wanted and made is not None:
                self._reals.setdefault(key, made)
            return making.is_wanted

    def _cp_proxy(self, key: ProxyKey) -> Any:
        return getattr(self.client.cp_subsystem, _CP_GETTERS[key.structure])(key.name)

    def __repr__(self) -> str:
        return f"<Link to {self.label} epoch={self.epoch} calls={len(self.calls)}>"


_CP_GETTERS = {
    "AtomicLong": "get_atomic_long",
    "AtomicReference": "get_atomic_reference",
    "CountDownLatch": "get_count_down_latch",
    "FencedLock": "get_lock",
    "Semaphore": "get_semaphore",
}


def _pass_on(own: Future[Any], made: Future[Any]) -> None:
    if own.done():
        return  # who waited for it was told to wait no longer
    if made.is_success():
        own.set_result(made.result())
    else:
        own.set_exception(made.exception(), made.traceback())  # type: ignore[arg-type]


def on_thread(blocking: Callable[[], Any]) -> Future[Any]:
    """Run what blocks without end on a thread of its own, so that waiting for it can have one."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            result = blocking()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="hazelcast-failover-call", daemon=True).start()
    return future
