"""What does not follow the client to another cluster: sections, held locks, sequences.

Each is remembered with the link that it belongs to, so that using it after a move fails with
``ClusterChanged`` and not with a wrong answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from flask_hazelcast_failover.client.link import Link, ProxyKey
from flask_hazelcast_failover.client.methods import Bond
from flask_hazelcast_failover.errors import ClusterChanged

__all__ = ["Bonds", "Holder", "holder_of"]

Holder = tuple[ProxyKey, int, str]
"""The structure, the thread that holds the lock, and the key that it is of."""

# Locks taken with a lease end by themselves and are never given back; the oldest are forgotten.
_LOCKS_REMEMBERED = 10_000


class Bonds:
    """Which threads are in a section, which locks they hold, which sequences were handed out."""

    def __init__(self) -> None:
        self.sections: dict[int, int] = {}  # thread -> epoch; each thread its own entry
        self._lock = threading.Lock()
        self._locks: OrderedDict[Holder, int] = OrderedDict()  # -> epoch; under _lock
        self._sequences: dict[ProxyKey, int] = {}  # -> data; under _lock

    def check_section(self, link: Link, epoch: int | None) -> None:
        """Refuse an operation of a section that was entered in another epoch."""
        if epoch is not None and link.epoch != epoch:
            raise ClusterChanged(
                f"the client has moved (epoch {epoch} to {link.epoch}, now on {link.label}) since this"
                " same_cluster() section began: begin it again"
            )

    def before(self, bond: Bond, key: ProxyKey, holder: Holder, link: Link) -> None:
        """Refuse an operation on what belongs to a cluster that was left."""
        if bond is Bond.UNLOCK:
            self._check_lock(holder, key, link)
        elif bond is Bond.TAKES_SEQUENCE:
            self._check_sequence(key, link)

    def after(self, bond: Bond, key: ProxyKey, holder: Holder, link: Link, result: object) -> None:
        """Remember what an operation has tied to ``link``."""
        with self._lock:
            if bond is Bond.GIVES_SEQUENCE:
                self._sequences[key] = link.data
            elif bond is Bond.LOCK and (result is None or result):
                self._locks[holder] = link.epoch
                if len(self._locks) > _LOCKS_REMEMBERED:
                    self._locks.popitem(last=False)

    def _check_lock(self, holder: Holder, key: ProxyKey, link: Link) -> None:
        with self._lock:
            epoch = self._locks.get(holder)
            if epoch is None or epoch == link.epoch:
                return
            del self._locks[holder]
        raise ClusterChanged(
            f"the lock of {key.structure} {key.name!r} was taken in epoch {epoch} and is lost: the client"
            f" is on {link.label} now, in epoch {link.epoch}"
        )

    def _check_sequence(self, key: ProxyKey, link: Link) -> None:
        with self._lock:
            data = self._sequences.setdefault(key, link.data)
        if data != link.data:
            raise ClusterChanged(
                f"the sequence belongs to the ring buffer {key.name!r} of a cluster that the client has"
                f" left; ask head_sequence() or tail_sequence() on {link.label}"
            )


def holder_of(key: ProxyKey, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Holder:
    """Who would hold the lock that these arguments name, when the calling thread takes it."""
    locked = args[0] if args else kwargs.get("key")
    # A key of a map need not be hashable. A FencedLock is the lock itself.
    return key, threading.get_ident(), repr(locked) if key.service else ""
