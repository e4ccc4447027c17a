"""Permits of semaphores: which thread took them on which link, so that they are given back nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import ref

from hazelcast.proxy.cp.semaphore import SessionlessSemaphore

from flask_hazelcast_failover.client._connect.link import Link, ProxyKey

__all__ = ["Held", "Permits"]

# Of one semaphore. Permits need not be given back by who took them, and threads end without a word:
# the oldest are forgotten.
_REMEMBERED = 1_000


@dataclass
class Held:
    """Permits of one semaphore that a thread took on one link."""

    thread: int
    link: ref[Link]
    label: str
    epoch: int
    data_id: int
    count: int

    def is_good_on(self, link: Link, key: ProxyKey) -> bool:
        """Whether the permits may be given back there."""
        if self.link() is link:
            return True
        # Those that belong to no session outlive the connection that they were taken over.
        return self.data_id == link.data_id and isinstance(link.real(key), SessionlessSemaphore)


class Permits:
    """The permits that are held. Whoever owns it guards it with a lock.

    Any thread may give back what another one took, so a thread's own permits only come first.
    """

    def __init__(self) -> None:
        self._held: dict[ProxyKey, list[Held]] = {}

    def take(self, key: ProxyKey, thread: int, link: Link, count: int) -> None:
        """Remember permits that were got on ``link``."""
        held = self._held.setdefault(key, [])
        for one in held:
            if one.thread == thread and one.link() is link:
                one.count += count
                break
        else:
            held.append(Held(thread, ref(link), link.label, link.epoch, link.data_id, count))
        if len(held) > _REMEMBERED:
            self._reduce(key, held[:1], held[0].count)
        self._count_on(link, key)

    def give_back(self, key: ProxyKey, thread: int, link: Link, count: int) -> None:
        """Forget permits that were given back on ``link``."""
        good = [one for one in self._held.get(key, ()) if one.is_good_on(link, key)]
        self._reduce(key, sorted(good, key=lambda one: one.thread == thread), count)
        self._count_on(link, key)

    def lose(self, key: ProxyKey, thread: int, link: Link, count: int) -> Held | None:
        """What would be given back on ``link`` if it was taken elsewhere. It is forgotten with that."""
        held = self._held.get(key, [])
        meant = [one for one in held if one.thread == thread] or held
        if not meant or any(one.is_good_on(link, key) for one in meant):
            return None
        latest = meant[-1]
        self._reduce(key, list(meant), count)
        return latest

    def forget(self, key: ProxyKey) -> None:
        """Forget the permits of a semaphore that was destroyed."""
        self._held.pop(key, None)

    def _reduce(self, key: ProxyKey, held: list[Held], count: int) -> None:
        """Take ``count`` permits off, the last of ``held`` first."""
        while held and count > 0:
            last = held[-1]
            taken = min(count, last.count)
            last.count -= taken
            count -= taken
            if not last.count:
                self._held[key].remove(held.pop())
        if key in self._held and not self._held[key]:
            del self._held[key]

    def _count_on(self, link: Link, key: ProxyKey) -> None:
        """Have a link with permits that a session holds closed once it is left: only that frees them."""
        there: Any = any(one.link() is link for one in self._held.get(key, ()))
        if there and not isinstance(link.real(key), SessionlessSemaphore):
            link.locks[key] = 1
        else:
            link.locks.pop(key, None)
