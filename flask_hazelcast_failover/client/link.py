"""A link: one open connection to one cluster, its real proxies and the operations in flight on it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

from hazelcast.errors import HazelcastError
from hazelcast.future import Future, ImmediateFuture

from flask_hazelcast_failover.client.known_cluster import KnownCluster
from flask_hazelcast_failover.client.official import OfficialClient

__all__ = [
    "STARTING",
    "Call",
    "Link",
    "LinkEnded",
    "Overdue",
    "ProxyKey",
    "call_numbers",
    "on_thread",
]

call_numbers = itertools.count(1).__next__


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
    """An operation in flight: what it waits for, and for how many seconds at most."""

    future: Future[Any]
    limit: float


# An operation that was counted in and does not wait yet.
STARTING = Call(ImmediateFuture(None), float("inf"))


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
        # Set by the keeper's thread before the link is published, not changed afterwards:
        self.epoch = 0
        self.data = 0  # the same number means: the same cluster with the same data
        self.stay = 0  # the same number means: and the client has not been anywhere else since
        # Each thread writes and deletes its own numbers, the keeper and the watch read: single steps of a
        # dict. A bare future may wait for as long as the client's operations usually may.
        self.calls: dict[int, Call | Future[Any]] = {}
        self._seen: dict[int, float] = {}  # number -> when the watch first saw it; of the watch's thread
        self._reals: dict[ProxyKey, Any] = {CLIENT: client}  # likewise
        # Listener id -> how it is registered here; under the lock of Listeners.
        self.registrations: dict[str, Any] = {}
        # Who holds a lock here, how often; under the lock of Bonds. Shared with the link that takes this one's place.
        self.locks: dict[Any, int] = {}
        self.follows_members = False  # set once, by the keeper
        # Told of each proxy that is made here; set once, by whoever opened the link.
        self.made: Callable[[ProxyKey], None] = lambda _: None

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

        Called by the keeper's thread before the link is published.
        """
        if former.client.identity == self.client.identity:
            self.locks = former.locks

    def is_connected(self) -> bool:
        """Whether a connection to at least one member is open."""
        return bool(self.client.connected_members())

    def real(self, key: ProxyKey) -> Any | None:
        """The real proxy, if it was made on this link before."""
        return self._reals.get(key)

    def obtain(self, key: ProxyKey) -> Future[Any]:
        """Have the real proxy made; the future ends with the link at the latest."""
        if not key.service:
            made = on_thread(lambda: self._cp_proxy(key))
        elif self.client.waits_in_constructor(key.service, key.name):
            made = on_thread(lambda: self.client.construct(key.service, key.name))
        else:
            made = self.client.create_proxy(key.service, key.name)

        def keep(future: Future[Any]) -> Any:
            real = self._reals.setdefault(key, future.result())
            self.made(key)
            return real

        return made.continue_with(keep)

    def forget(self, key: ProxyKey) -> None:
        """Drop a real proxy that was destroyed."""
        self._reals.pop(key, None)

    def proxy_keys(self) -> list[ProxyKey]:
        """Every proxy that was used on this link."""
        return [key for key in self._reals if key != CLIENT]

    def end_overdue(self, now: float, usual: float) -> None:
        """End the operations that wait for longer than they may. For the watch's thread.

        Looking at the clock here saves every operation from doing so.

        :param now: seconds, by the watch's own time
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

    def left(self, number: int) -> None:
        """Count an operation out that may have been counted out already."""
        self.calls.pop(number, None)

    @property
    def remains(self) -> int:
        """What would be lost with this link: operations in flight and locks held."""
        return len(self.calls) + len(self.locks)

    @property
    def is_idle(self) -> bool:
        """Whether no operation is in flight."""
        return not self.calls

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
