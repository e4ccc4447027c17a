"""Permits of semaphores: which thread acquired them on which link, so that they are released nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import ref

from hazelcast.proxy.cp.semaphore import SessionlessSemaphore

from .._connect.link import Link, ProxyKey

# How many threads are recorded for one semaphore, the latest. Another thread may release what one has acquired, and
# the end of a thread is not reported.
_MAX_RECORDED = 1_000


@dataclass
class HeldPermits:
    """Permits of one semaphore that a thread acquired on one link."""

    thread: int
    link: ref[Link]
    label: str
    epoch: int
    data_id: int
    count: int

    def can_be_released_on(self, link: Link, key: ProxyKey) -> bool:
        """Whether the members take their release over ``link``."""
        if self.link() is link:
            return True
        # Those that belong to no session outlive the connection that they were acquired over.
        return self.data_id == link.data_id and isinstance(link.real(key), SessionlessSemaphore)


class Permits:
    """The permits that are held. The owner guards it with a lock.

    Any thread may release what another one has acquired; a thread's own permits come first.
    """

    def __init__(self) -> None:
        self._held: dict[ProxyKey, list[HeldPermits]] = {}

    def acquire(self, key: ProxyKey, thread: int, link: Link, count: int) -> None:
        """Record permits that were acquired on ``link``."""
        held = self._held.setdefault(key, [])
        for one in held:
            if one.thread == thread and one.link() is link:
                one.count += count
                break
        else:
            held.append(HeldPermits(thread, ref(link), link.label, link.epoch, link.data_id, count))
        if len(held) > _MAX_RECORDED:
            self._remove(key, held[:1], held[0].count)
        self._mark_link(link, key)

    def release(self, key: ProxyKey, thread: int, link: Link, count: int) -> None:
        """Remove permits that were released on ``link``."""
        held = [one for one in self._held.get(key, ()) if one.can_be_released_on(link, key)]
        self._remove(key, sorted(held, key=lambda one: one.thread == thread), count)
        self._mark_link(link, key)

    def take_lost(self, key: ProxyKey, thread: int, link: Link, count: int) -> HeldPermits | None:
        """Remove and return permits whose release on ``link`` would fail, since they were acquired elsewhere."""
        held = self._held.get(key, [])
        candidates = [one for one in held if one.thread == thread] or held
        if not candidates or any(one.can_be_released_on(link, key) for one in candidates):
            return None
        latest = candidates[-1]
        self._remove(key, list(candidates), count)
        return latest

    def forget(self, key: ProxyKey) -> None:
        """Forget the permits of a semaphore that was destroyed."""
        self._held.pop(key, None)

    def _remove(self, key: ProxyKey, held: list[HeldPermits], count: int) -> None:
        """Remove ``count`` permits, those at the end of ``held`` first."""
        while held and count > 0:
            last = held[-1]
            removed = min(count, last.count)
            last.count -= removed
            count -= removed
            if not last.count:
                self._held[key].remove(held.pop())
        if key in self._held and not self._held[key]:
            del self._held[key]

    def _mark_link(self, link: Link, key: ProxyKey) -> None:
        """Have a link whose session holds permits closed once it is left: only that frees them."""
        is_held = any(one.link() is link for one in self._held.get(key, ()))
        if is_held and not isinstance(link.real(key), SessionlessSemaphore):
            link.locks[key] = 1
        else:
            link.locks.pop(key, None)
