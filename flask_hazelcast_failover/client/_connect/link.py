"""A link: an open connection to one cluster, with its real proxies and the operations in flight on it."""

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

from ..._threads import helper_thread
from .._known_cluster import KnownCluster
from .._official import LightFuture, OfficialClient, subscribe

next_call_number = itertools.count(1).__next__


class LinkEnded(HazelcastError):
    """The link was lost while the operation was in flight."""


class Overdue(HazelcastError):
    """The operation was not answered in time, by a cluster that is healthy."""


class ProxyKey(NamedTuple):
    """Identifies a structure by its official class, its service and its name; and what its proxy reads."""

    structure: str
    service: str
    name: str
    content: str = ""
    """Anything, or ``PLAIN``."""


CLIENT = ProxyKey("HazelcastClient", "", "")
"""The key of the official client itself, for operations without a structure."""
PLAIN = "plain"
"""The content of a map whose proxy reads strings and byte arrays only."""


class Call(NamedTuple):
    """What an operation in flight waits for, and for how many seconds at most."""

    future: Future[Any]
    limit: float


# An operation that was counted in and does not wait yet.
STARTING = Call(ImmediateFuture(None), float("inf"))


class CallInFlight:
    """One operation in flight, counted in on a link until it ends. Each method is one atomic step of a dict.

    What begins is to be ended whatever happens, so ``begin`` belongs into the ``try`` block whose ``finally`` ends it:
    a call that is left behind would hold up each graceful switch.
    """

    __slots__ = ("_number", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self._number = next_call_number()

    def begin(self) -> None:
        """Count the operation in."""
        self.link.calls[self._number] = STARTING

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


# How long requests for a proxy share one creation, seconds; then another is started, since its member may be frozen.
_SHARE_TIMEOUT = 1.0


class _Creation:
    """The creation of a real proxy, shared by those who request it meanwhile."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.proxy: Future[Any] = LightFuture()
        self.is_wanted = True  # whether to keep the proxy; under the link's lock


class Link:
    """An open connection to one cluster.

    :param label: the cluster's label
    :param index: the cluster's index in the order of priority
    :param client: the open official client, used by this link only
    """

    def __init__(self, label: str, index: int, client: OfficialClient) -> None:
        self.label = label
        self.index = index
        self.client = client
        # Set by the controller's thread each time before operations are sent here:
        self.epoch = 0
        self.data_id = 0  # equal numbers mean the same cluster with the same data
        self.visit_id = 0  # equal numbers mean that, and that the client has been on no other cluster between
        # Each thread writes and deletes its own numbers, the controller and the health monitor read: single steps of a
        # dict. A bare future may wait for as long as the client's operations usually may.
        self.calls: dict[int, Call | Future[Any]] = {}
        # Number of a call -> when the health monitor first saw it; of the health monitor's thread.
        self._first_seen: dict[int, float] = {}
        self._reals: dict[ProxyKey, Any] = {CLIENT: client}  # written under _lock; atomic steps of a dict
        # Listener id -> its registration on this link; written under the lock of ListenerRegistrations.
        self.registrations: dict[str, Any] = {}
        # Holder of a lock -> how often it holds it; under the lock of ClusterAffinity. Shared with the link that replaces
        # this one.
        self.locks: dict[Any, int] = {}
        self.follows_members = False  # set once, by the controller
        self._lock = threading.Lock()
        self._creations: dict[ProxyKey, list[_Creation]] = {}  # under _lock
        # Called with each proxy that is created here; set once, before the link is published.
        self.on_proxy_created: Callable[[ProxyKey], None] = lambda _: None
        # Whether a structure is in use, and was not destroyed meanwhile; likewise.
        self.is_used: Callable[[ProxyKey], bool] = lambda _: True

    def members(self) -> frozenset[UUID]:
        """The members of the cluster, according to the cluster."""
        return frozenset(member.uuid for member in self.client.member_list() if member.uuid)

    def member_addresses(self) -> frozenset[str]:
        """The addresses of these members, "host:port"."""
        return frozenset(f"{m.address.host}:{m.address.port}" for m in self.client.member_list())

    def known_cluster(self) -> KnownCluster:
        """What a later attempt needs to find the cluster again."""
        return KnownCluster(self.client.cluster_id, self.client.reachable_addresses(), self.client.identity)

    def continue_from(self, former: Link) -> None:
        """Take over the locks of a former link if this one continues it.

        Called by the controller's thread before the link is published.
        """
        if self.continues(former):
            self.locks = former.locks

    def continues(self, former: Link) -> bool:
        """Whether members treat requests over this link as those of a former one, on the same data."""
        return former.visit_id == self.visit_id and former.client.identity == self.client.identity

    def is_connected(self) -> bool:
        """Whether a connection to at least one member is open, or is being opened again at this moment."""
        return bool(self.client.connected_members()) or self.client.is_reopening

    def real(self, key: ProxyKey) -> Any | None:
        """The real proxy, if it was created on this link already."""
        return self._reals.get(key)

    def obtain(self, key: ProxyKey) -> Future[Any]:
        """Get or create the real proxy; the future ends with the link at the latest."""
        real = self._reals.get(key)
        if real is not None:
            return ImmediateFuture(real)
        own: Future[Any] = LightFuture()
        started: _Creation | None = None
        with self._lock:
            if (real := self._reals.get(key)) is not None:
                return ImmediateFuture(real)  # created just now
            creations = self._creations.setdefault(key, [])
            if not creations or time.monotonic() - creations[-1].began > _SHARE_TIMEOUT:
                started = _Creation()
                creations.append(started)
            subscribe(creations[-1].proxy, partial(_forward, own))
        if started is not None:
            try:
                subscribe(self._create(key), partial(self._on_created, key, started))
            except BaseException as error:
                self._end(key, started)
                for_others = error if isinstance(error, Exception) else TargetDisconnectedError("interrupted")
                started.proxy.set_exception(for_others)
                raise
        return own

    def take_back(self, key: ProxyKey) -> Any | None:
        """Remove the real proxy and return it; one that is being created is not kept either."""
        with self._lock:
            for creation in self._creations.get(key, ()):
                creation.is_wanted = False
            return self._reals.pop(key, None)

    def forget(self, key: ProxyKey) -> None:
        """Drop the proxies of a structure that was destroyed; nothing is sent to the members."""
        if (real := self.take_back(key)) is not None:
            self.client.drop_proxy(real)
        if key.service and key.content != PLAIN:
            self.client.drop_listed_proxy(key.service, key.name)

    def proxy_keys(self) -> list[ProxyKey]:
        """The keys of all proxies that were created on this link."""
        return [key for key in list(self._reals) if key != CLIENT]

    def end_overdue(self, now: float, usual: float) -> None:
        """End the operations that have waited for too long. For the health monitor's thread.

        Checking here saves each operation from reading the clock.

        :param now: the health monitor's own time, seconds
        :param usual: how long a call without a limit of its own may wait, seconds
        """
        calls = self.calls.copy()
        self._first_seen = {number: self._first_seen.get(number, now) for number in calls}
        for number, call in calls.items():
            future, limit = call if isinstance(call, Call) else (call, usual)
            if now - self._first_seen[number] > limit and not future.done():
                future.set_exception(Overdue(f"no answer for {limit:g} s"))

    def end_calls(self) -> None:
        """End all operations in flight. Has to be called until none is left, since one may be starting."""
        for call in list(self.calls.values()):
            future = call.future if isinstance(call, Call) else call
            if call is not STARTING and not future.done():
                future.set_exception(LinkEnded(f"the connection to {self.label} is gone"))

    def count_until_done(self, future: Future[Any], limit: float) -> None:
        """Count a request in flight until ``future`` is done, which is after ``limit`` seconds at most."""
        call = CallInFlight(self)
        call.expect(future, limit)  # counts it in as well

        def done(_: Future[Any]) -> None:
            call.end()

        future.add_done_callback(done)

    @property
    def remains(self) -> int:
        """How much would be lost with this link: operations in flight and locks held."""
        return len(self.calls) + len(self.locks)

    @property
    def is_idle(self) -> bool:
        """Whether no operation is in flight."""
        return not self.calls

    def _create(self, key: ProxyKey) -> Future[Any]:
        if not key.service:
            return on_thread(lambda: self.client.construct_cp_proxy(key.structure, key.name))
        if key.content == PLAIN:
            return self.client.create_plain_map(key.name)
        if self.client.waits_in_constructor(key.service, key.name):
            return on_thread(lambda: self.client.construct(key.service, key.name))
        return self.client.create_proxy(key.service, key.name)

    def _on_created(self, key: ProxyKey, creation: _Creation, done: Future[Any]) -> None:
        if not done.is_success():
            self._end(key, creation)
            creation.proxy.set_exception(done.exception(), done.traceback())  # type: ignore[arg-type]
            return
        real = created = done.result()
        try:
            is_kept = self._end(key, creation, created)
            if is_kept:
                real = self._reals.get(key, created)
            if not is_kept or real is not created:
                self.client.drop_proxy(created)
            # Checked last: destroying marks the structure first and then drops the proxies of each link.
            if is_kept and self.is_used(key):
                self.on_proxy_created(key)
            elif is_kept:
                self.forget(key)
        finally:
            creation.proxy.set_result(real)

    def _end(self, key: ProxyKey, creation: _Creation, created: Any = None) -> bool:
        """End a creation; keeps the proxy and returns ``True`` if it is still wanted."""
        with self._lock:
            creations = self._creations[key]
            creations.remove(creation)
            if not creations:
                del self._creations[key]
            if creation.is_wanted and created is not None:
                self._reals.setdefault(key, created)
            return creation.is_wanted

    def __repr__(self) -> str:
        return f"<Link to {self.label} epoch={self.epoch} calls={len(self.calls)}>"


def _forward(own: Future[Any], shared: Future[Any]) -> None:
    if own.done():
        return  # ended with the link, or overdue
    if shared.is_success():
        own.set_result(shared.result())
    else:
        own.set_exception(shared.exception(), shared.traceback())  # type: ignore[arg-type]


def on_thread(blocking: Callable[[], Any]) -> Future[Any]:
    """Run a function that blocks without a limit on a thread of its own, so that a wait for it can have one."""
    future: Future[Any] = LightFuture()

    def run() -> None:
        try:
            result = blocking()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    helper_thread(run, "hazelcast-failover-call").start()
    return future
