"""A storage for limits, and through it Flask-Limiter on Hazelcast.

Each limit is one entry, changed by compare-and-set, so all strategies are exact on one cluster however
many processes share it. Times are by the clocks of the app's hosts.

After a switch, a limit continues if the new cluster has its data, as with WAN replication; else it starts anew.
If a hit may or may not have been counted, ``OperationOutcomeUnknown`` is raised; it is never counted twice.
While every cluster is down, ``check()`` is false and everything else raises ``ClientOfflineException``:
Flask-Limiter then follows ``RATELIMIT_IN_MEMORY_FALLBACK_ENABLED`` or ``RATELIMIT_SWALLOW_ERRORS``; without
these, the response is 503.
"""

from __future__ import annotations

import math
import struct
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from flask import Flask
from hazelcast.errors import HazelcastError
from limits.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from .._extension import HazelcastFailover
from ..client import HazelcastClient
from ._entries import NEVER, Entry, EntryMap
from ._source import ClientSource

__all__ = ["HazelcastStorage"]

# One key may be limited by several strategies; each has its own entry.
_FIXED, _MOVING, _SLIDING = "fixed:", "moving:", "sliding:"


class HazelcastStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Limits in a Hazelcast map.

    :param uri: ``hazelcast+failover://``, followed by the name of the map, ``limits`` by default
    :param wrap_exceptions: whether to raise ``limits.errors.StorageError`` from what the client raises
    :param client: a ``HazelcastClient`` or the ``HazelcastFailover`` extension; without it, the extension of
        the current app
    :param key_prefix: separates storages in the same map; prefixes never collide
    :raises TypeError: for a client or a prefix of the wrong type
    """

    STORAGE_SCHEME = ["hazelcast+failover"]  # noqa: RUF012 - limits wants a list

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        *,
        client: HazelcastClient | HazelcastFailover | Flask | None = None,
        key_prefix: str = "LIMITS",
        **options: Any,
    ) -> None:
        if not isinstance(key_prefix, str):
            raise TypeError(f"key_prefix must be a str, not a {type(key_prefix).__name__}")
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        name = urlsplit(uri or "").netloc or "limits"
        self._entries = EntryMap(ClientSource(client).client, name, lambda: key_prefix)

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """The base class of what the client raises."""
        return HazelcastError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount`` hits in a window that ends ``expiry`` seconds after its first hit."""

        def counted(entry: Entry | None) -> Entry:
            window = _window(entry)
            if window is None:
                return Entry(_COUNT.pack(amount), time.time() + expiry)
            return Entry(_COUNT.pack(min(window.hits + amount, _MOST)), window.end)

        changed = _window(self._entries.change(_FIXED + key, counted))
        return 0 if changed is None else changed.hits

    def get(self, key: str) -> int:
        """The hits in the current window."""
        window = _window(self._entries.get(_FIXED + key))
        return 0 if window is None else window.hits

    def get_expiry(self, key: str) -> float:
        """The end of the current window, seconds since 1970; now, if there is none."""
        window = _window(self._entries.get(_FIXED + key))
        return time.time() if window is None else window.end

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` hits, unless there were more than ``limit`` in the last ``expiry`` seconds then."""

        def acquired(entry: Entry | None) -> Entry | None:
            now = time.time()
            hits = _hits(entry, expiry, now)
            if sum(hit.amount for hit in hits) + amount > limit:
                return None
            packed = b"".join(_HIT.pack(*hit) for hit in [*hits, _Hit(now, amount)])
            return Entry(packed, now + expiry)

        return amount <= limit and self._entries.change(_MOVING + key, acquired) is not None

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The time of the oldest hit in the window, seconds since 1970, and the number of hits."""
        now = time.time()
        hits = _hits(self._entries.get(_MOVING + key), expiry, now)
        return min((hit.at for hit in hits), default=now), sum(hit.amount for hit in hits)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` hits, unless the windows, the previous one weighted, held more than ``limit`` then."""

        def acquired(entry: Entry | None) -> Entry | None:
            now = time.time()
            windows = _windows(entry, expiry, now)
            weighted = windows.previous * windows.previous_left(expiry, now) / expiry
            if math.floor(weighted) + windows.current + amount > limit:
                return None
            grown = windows._replace(current=windows.current + amount)
            return Entry(_WINDOWS.pack(*grown), grown.start + 2 * expiry)

        return amount <= limit and self._entries.change(_SLIDING + key, acquired) is not None

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The hits in the previous and in the current window, each with the seconds until it expires."""
        now = time.time()
        windows = _windows(self._entries.get(_SLIDING + key), expiry, now)
        return (
            windows.previous,
            windows.previous_left(expiry, now) if windows.previous else 0.0,
            windows.current,
            windows.start + 2 * expiry - now if windows.previous or windows.current else 0.0,
        )

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Remove the hits of a key."""
        self._entries.remove(_SLIDING + key)

    def check(self) -> bool:
        """Whether a cluster can be reached."""
        try:
            self._entries.get("")
        except HazelcastError:
            return False
        return True

    def reset(self) -> int:
        """Remove all limits of this prefix; return how many there were. Keys of others, of any type, are left alone."""
        count = self._entries.count()
        self._entries.clear()
        return count

    def clear(self, key: str) -> None:
        """Remove the hits of a key, of every strategy."""
        for _ in self._entries.remove_all([_FIXED + key, _MOVING + key, _SLIDING + key]):
            pass


_COUNT = struct.Struct(">q")
_HIT = struct.Struct(">dq")
_WINDOWS = struct.Struct(">dqq")
# The greatest number that they hold.
_MOST = 2**63 - 1


class _Window(NamedTuple):
    """A fixed window."""

    hits: int
    end: float  # seconds since 1970


class _Hit(NamedTuple):
    at: float  # seconds since 1970
    amount: int


class _Windows(NamedTuple):
    """Two consecutive windows."""

    start: float  # of the current one, seconds since 1970
    previous: int
    current: int

    def previous_left(self, expiry: int, now: float) -> float:
        """Seconds until the previous window expires."""
        return min(max(0.0, self.start + expiry - now), expiry)


# Anybody who may write to the map may have put anything: what these cannot read is as good as absent.


def _window(entry: Entry | None) -> _Window | None:
    if entry is None or entry.end == NEVER or len(entry.value) != _COUNT.size:
        return None
    (hits,) = _COUNT.unpack(entry.value)
    return _Window(hits, entry.end)


def _hits(entry: Entry | None, expiry: int, now: float) -> list[_Hit]:
    if entry is None or len(entry.value) % _HIT.size:
        return []
    hits = [_Hit(*unpacked) for unpacked in _HIT.iter_unpack(entry.value)]
    return [hit for hit in hits if now - expiry <= hit.at <= now + expiry]


def _windows(entry: Entry | None, expiry: int, now: float) -> _Windows:
    if entry is None or len(entry.value) != _WINDOWS.size:
        return _Windows(now, 0, 0)
    windows = _Windows(*_WINDOWS.unpack(entry.value))
    if not 0 <= windows.start <= now + expiry:
        return _Windows(now, 0, 0)
    # The entry expires when its current window does as the previous one: at most one window has passed.
    if windows.start + expiry <= now:
        return _Windows(windows.start + expiry, windows.current, 0)
    return windows
