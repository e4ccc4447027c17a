"""What does not follow the client to another cluster: sections, held locks and permits, sequences.

Each is remembered with the link that it belongs to, so that using it after a move fails with
``ClusterChanged`` and not with a wrong answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import ref

from flask_hazelcast_failover.client._connect.link import Link, ProxyKey
from flask_hazelcast_failover.client._operations.idempotency import Affinity
from flask_hazelcast_failover.client._operations.permits import Permits
from flask_hazelcast_failover.errors import ClusterChanged

__all__ = ["ClusterAffinity", "Holder", "holder_of"]


class Holder(NamedTuple):
    """The structure, the thread that is bound, the key of its lock or how many permits it is about."""

    key: ProxyKey
    thread: int
    lock: str = ""
    permits: int = 0


# Locks taken with a lease end by themselves and are never given back, and threads end without a
# word: the oldest are forgotten.
_REMEMBERED = 10_000


class _Lock(NamedTuple):
    """Where a lock was taken."""

    link: ref[Link]
    held: dict[Any, int]  # those of that link, and of links that have taken its place
    label: str
    epoch: int

    def is_held_on(self, link: Link, holder: Holder) -> bool:
        """Whether the lock can be given back over a link."""
        # A FencedLock belongs to a session, which ends with its connection; a map's lock belongs to the client.
        return self.link() is link or (bool(holder.key.service) and self.held is link.locks)


class ClusterAffinity:
    """Which threads are in a section, which locks they hold, which sequences they know."""

    def __init__(self) -> None:
        self.sections: dict[int, int] = {}  # thread -> stay of the link; each thread its own entry
        self._lock = threading.Lock()
        self._locks: OrderedDict[Holder, _Lock] = OrderedDict()  # under _lock
        self._permits = Permits()  # under _lock
        # On which data the sequences are of use that a thread knows, and those handed out last; under _lock.
        self._known: OrderedDict[tuple[ProxyKey, int], int] = OrderedDict()
        self._sequences: dict[ProxyKey, int] = {}

    def check_section(self, link: Link, stay: int | None) -> None:
        """Refuse an operation of a section that was entered before the client has moved."""
        if stay is not None and link.visit_id != stay:
            raise ClusterChanged(
                f"the client has moved (now on {link.label}, in epoch {link.epoch}) since this"
                " same_cluster() section began: begin it again"
            )

    def before(self, bond: Affinity, holder: Holder, link: Link) -> None:
        """Refuse an operation on what belongs to a cluster that was left."""
        if bond is Affinity.UNLOCK:
            self._check_lock(holder, link)
        elif bond is Affinity.GIVES_PERMITS:
            self._check_permits(holder, link)
        elif bond is Affinity.TAKES_SEQUENCE:
            self._check_sequence(holder, link)

    def after(self, bond: Affinity, holder: Holder, link: Link, result: object) -> None:
        """Remember what an operation has tied to ``link``."""
        with self._lock:
            if bond is Affinity.GIVES_SEQUENCE:
                self._know_sequence(holder, link)
            elif bond is Affinity.UNLOCK:
                self._gave_back(holder, link)
            elif bond is Affinity.LOCK and (result is None or result):
                self._took(holder, link)
            elif bond is Affinity.TAKES_PERMITS and (result is None or result):
                self._permits.take(holder.key, holder.thread, link, holder.permits)
            elif bond is Affinity.DRAINS_PERMITS and isinstance(result, int) and result:
                self._permits.take(holder.key, holder.thread, link, result)
            elif bond is Affinity.GIVES_PERMITS:
                self._permits.give_back(holder.key, holder.thread, link, holder.permits)

    def forget(self, key: ProxyKey, links: Iterable[Link]) -> None:
        """Forget what belongs to a structure that was destroyed."""
        with self._lock:
            for holder in [holder for holder in self._locks if holder.key == key]:
                del self._locks[holder]
            for known in [known for known in self._known if known[0] == key]:
                del self._known[known]
            self._sequences.pop(key, None)
            self._permits.forget(key)
            for link in links:
                for held in [held for held in link.locks if key in (held, held[0])]:
                    del link.locks[held]

    def _took(self, holder: Holder, link: Link) -> None:
        self._locks[holder] = _Lock(ref(link), link.locks, link.label, link.epoch)
        link.locks[holder] = link.locks.get(holder, 0) + 1
        if len(self._locks) > _REMEMBERED:
            forgotten, lock = self._locks.popitem(last=False)
            lock.held.pop(forgotten, None)

    def _gave_back(self, holder: Holder, link: Link) -> None:
        left = link.locks.get(holder, 1) - 1
        if left:
            link.locks[holder] = left
        else:
            link.locks.pop(holder, None)
            self._locks.pop(holder, None)

    def _check_lock(self, holder: Holder, link: Link) -> None:
        with self._lock:
            lock = self._locks.get(holder)
            if lock is None or lock.is_held_on(link, holder):
                return
            del self._locks[holder]
            lock.held.pop(holder, None)
        key = holder.key
        raise ClusterChanged(
            f"the lock of {key.structure} {key.name!r} was taken on {lock.label} in epoch {lock.epoch} and"
            f" is lost: the client is on {link.label} now, in epoch {link.epoch}"
        )

    def _check_permits(self, holder: Holder, link: Link) -> None:
        with self._lock:
            lost = self._permits.lose(holder.key, holder.thread, link, holder.permits)
        if lost is not None:
            raise ClusterChanged(
                f"the permits of {holder.key.structure} {holder.key.name!r} were taken on {lost.label} in epoch"
                f" {lost.epoch} and are lost: the client is on {link.label} now, in epoch {link.epoch}"
            )

    def _know_sequence(self, holder: Holder, link: Link) -> None:
        key, thread = holder.key, holder.thread
        self._known[key, thread] = self._sequences[key] = link.data_id
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _check_sequence(self, holder: Holder, link: Link) -> None:
        key, thread = holder.key, holder.thread
        with self._lock:
            data = self._known.get((key, thread), self._sequences.get(key, link.data_id))
            if data == link.data_id:
                self._know_sequence(holder, link)
                return
        raise ClusterChanged(
            f"the sequence belongs to the ring buffer {key.name!r} of a cluster that the client has"
            f" left; ask head_sequence() or tail_sequence() on {link.label}"
        )


def holder_of(bond: Affinity, key: ProxyKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Holder:
    """Who is bound when the calling thread calls a method with these arguments."""
    thread = threading.get_ident()
    if bond in (Affinity.TAKES_PERMITS, Affinity.GIVES_PERMITS):
        permits = args[0] if args else kwargs.get("permits", 1)
        return Holder(key, thread, permits=permits if isinstance(permits, int) else 0)
    if bond not in (Affinity.LOCK, Affinity.UNLOCK) or not key.service:
        return Holder(key, thread)  # a FencedLock is the lock itself
    # A key of a map need not be hashable.
    return Holder(key, thread, repr(args[0] if args else kwargs.get("key")))
