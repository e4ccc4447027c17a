"""What stays behind when the client switches: held locks and permits, sequences of ring buffers.

Each is recorded with the link that it belongs to, so that using it after a switch fails with ``ClusterChanged`` and
not with a wrong answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import ref

from ...errors import ClusterChanged
from .._connect.link import Link, ProxyKey
from .idempotency import Affinity
from .permits import Permits


class Holder(NamedTuple):
    """A thread, and the lock or permits of a structure that its call is about."""

    key: ProxyKey
    thread: int
    lock: str = ""  # the key that is locked, if it is one of a map
    permits: int = 0


# How many locks and threads are recorded, the latest. Locks taken with a lease are never released by their holder,
# and the end of a thread is not reported.
_MAX_RECORDED = 10_000


class _HeldLock(NamedTuple):
    """Where a lock was taken."""

    link: ref[Link]
    link_locks: dict[Any, int]  # shared by that link and those that continue from it
    label: str
    epoch: int

    def can_be_released_on(self, link: Link, holder: Holder) -> bool:
        """Whether the members take its release over ``link``."""
        # A FencedLock belongs to a session, which ends with its connection; a map's lock belongs to the client.
        return self.link() is link or (bool(holder.key.service) and self.link_locks is link.locks)


class ClusterAffinity:
    """Which locks and permits threads hold, which sequences they know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: OrderedDict[Holder, _HeldLock] = OrderedDict()  # under _lock
        self._permits = Permits()  # under _lock
        # The data ids that sequences belong to: those a thread knows, and the latest of any thread; under _lock.
        self._thread_sequences: OrderedDict[Holder, int] = OrderedDict()
        self._latest_sequences: dict[ProxyKey, int] = {}

    def check(self, affinity: Affinity | None, holder: Holder, link: Link) -> None:
        """Refuse an operation on what belongs to a cluster that was left."""
        if affinity is Affinity.UNLOCKS:
            self._check_lock(holder, link)
        elif affinity is Affinity.RELEASES_PERMITS:
            self._check_permits(holder, link)
        elif affinity is Affinity.USES_SEQUENCE:
            self._check_sequence(holder, link)

    def record(self, affinity: Affinity | None, holder: Holder, link: Link, result: object) -> None:
        """Record what an operation has tied to ``link``, or released there."""
        with self._lock:
            if affinity is Affinity.RETURNS_SEQUENCE:
                self._record_sequence(holder, link)
            elif affinity is Affinity.UNLOCKS:
                self._record_unlock(holder, link)
            elif affinity is Affinity.LOCKS and (result is None or result):
                self._record_lock(holder, link)
            elif affinity is Affinity.ACQUIRES_PERMITS and (result is None or result):
                self._permits.acquire(holder.key, holder.thread, link, holder.permits)
            elif affinity is Affinity.DRAINS_PERMITS and isinstance(result, int) and result:
                self._permits.acquire(holder.key, holder.thread, link, result)
            elif affinity is Affinity.RELEASES_PERMITS:
                self._permits.release(holder.key, holder.thread, link, holder.permits)

    def forget(self, key: ProxyKey, links: Iterable[Link]) -> None:
        """Forget what belongs to a structure that was destroyed."""
        with self._lock:
            for holder in [holder for holder in (*self._locks, *self._thread_sequences) if holder.key == key]:
                self._locks.pop(holder, None)
                self._thread_sequences.pop(holder, None)
            self._latest_sequences.pop(key, None)
            self._permits.forget(key)
            for link in links:
                for held in [held for held in link.locks if key in (held, held[0])]:
                    del link.locks[held]

    def _record_lock(self, holder: Holder, link: Link) -> None:
        self._locks[holder] = _HeldLock(ref(link), link.locks, link.label, link.epoch)
        link.locks[holder] = link.locks.get(holder, 0) + 1
        if len(self._locks) > _MAX_RECORDED:
            oldest, lock = self._locks.popitem(last=False)
            lock.link_locks.pop(oldest, None)

    def _record_unlock(self, holder: Holder, link: Link) -> None:
        left = link.locks.get(holder, 1) - 1
        if left:
            link.locks[holder] = left
        else:
            link.locks.pop(holder, None)
            self._locks.pop(holder, None)

    def _check_lock(self, holder: Holder, link: Link) -> None:
        with self._lock:
            lock = self._locks.get(holder)
            if lock is None or lock.can_be_released_on(link, holder):
                return
            del self._locks[holder]
            lock.link_locks.pop(holder, None)
        key = holder.key
        raise ClusterChanged(
            f"the lock of {key.structure} {key.name!r} was taken on {lock.label} in epoch {lock.epoch} and"
            f" is lost: the client is on {link.label} now, in epoch {link.epoch}"
        )

    def _check_permits(self, holder: Holder, link: Link) -> None:
        with self._lock:
            lost = self._permits.take_lost(holder.key, holder.thread, link, holder.permits)
        if lost is not None:
            raise ClusterChanged(
                f"the permits of {holder.key.structure} {holder.key.name!r} were taken on {lost.label} in epoch"
                f" {lost.epoch} and are lost: the client is on {link.label} now, in epoch {link.epoch}"
            )

    def _record_sequence(self, holder: Holder, link: Link) -> None:
        self._thread_sequences[holder] = self._latest_sequences[holder.key] = link.data_id
        if len(self._thread_sequences) > _MAX_RECORDED:
            self._thread_sequences.popitem(last=False)

    def _check_sequence(self, holder: Holder, link: Link) -> None:
        with self._lock:
            latest = self._latest_sequences.get(holder.key, link.data_id)
            if self._thread_sequences.get(holder, latest) == link.data_id:
                self._record_sequence(holder, link)
                return
        raise ClusterChanged(
            f"the sequence belongs to the ring buffer {holder.key.name!r} of a cluster that the client has"
            f" left; ask head_sequence() or tail_sequence() on {link.label}"
        )


def holder_of(affinity: Affinity, key: ProxyKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Holder:
    """The calling thread, as the holder of what a call with these arguments is about."""
    thread = threading.get_ident()
    if affinity in (Affinity.ACQUIRES_PERMITS, Affinity.RELEASES_PERMITS):
        permits = args[0] if args else kwargs.get("permits", 1)
        return Holder(key, thread, permits=permits if isinstance(permits, int) else 0)
    if affinity not in (Affinity.LOCKS, Affinity.UNLOCKS) or not key.service:
        return Holder(key, thread)  # a FencedLock is the lock itself
    # A key of a map need not be hashable.
    return Holder(key, thread, repr(args[0] if args else kwargs.get("key")))
