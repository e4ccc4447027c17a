"""A storage for limits, and through it Flask-Limiter on Hazelcast.

Each limit is one entry, changed by compare-and-set, so all strategies are exact on one cluster however
many processes share it. Times are those of the hosts that the app runs on.

In a switch, a limit goes on where the new cluster knows it, as with WAN replication; else it begins anew.
What may or may not have been counted raises ``OperationOutcomeUnknown`` instead of being counted twice.
While every cluster is down, ``check()`` is false and everything else raises ``ClientOfflineException``:
Flask-Limiter then goes by ``RATELIMIT_IN_MEMORY_FALLBACK_ENABLED`` or ``RATELIMIT_SWALLOW_ERRORS``,
and without these the request is answered with 503.
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

from flask_hazelcast_failover._extension import HazelcastFailover
from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.integrations._entries import Entry, EntryMap
from flask_hazelcast_failover.integrations._source import ClientSource

__all__ = ["HazelcastStorage"]

# One key may be limited by several strategies, each with an entry of its own.
_FIXED, _MOVING, _SLIDING = "fixed:", "moving:", "sliding:"


class HazelcastStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Limits in a Hazelcast map.

    :param uri: ``hazelcast+failover://``, with the name of the map behind it if it is not ``limits``
    :param wrap_exceptions: whether to raise ``limits.errors.StorageError`` from what the client raises
    :param client: a ``HazelcastClient`` or the ``HazelcastFailover`` extension; without it, the extension of
        the current app
    :param key_prefix: keeps storages in the same map apart; no two prefixes collide
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
        """What the client raises."""
        return HazelcastError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count ``amount`` more in a window that ends ``expiry`` seconds after its first count."""

        def counted(there: Entry | None) -> Entry:
            if there is None:
                return Entry(_COUNT.pack(amount), time.time() + expiry)
            return Entry(_COUNT.pack(_COUNT.unpack(there.value)[0] + amount), there.end)

        entry = self._entries.change(_FIXED + key, counted)
        return _counted(entry)

    def get(self, key: str) -> int:
        """How much was counted in the current window."""
        return _counted(self._entries.get(_FIXED + key))

    def get_expiry(self, key: str) -> float:
        """When the current window ends, seconds since 1970; now, if there is none."""
        entry = self._entries.get(_FIXED + key)
        return time.time() if entry is None else entry.end

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` more if that makes no more than ``limit`` in the last ``expiry`` seconds."""

        def acquired(there: Entry | None) -> Entry | None:
            now = time.time()
            hits = _hits(there, now - expiry)
            if sum(hit.amount for hit in hits) + amount > limit:
                return None
            packed = b"".join(_HIT.pack(*hit) for hit in [*hits, _Hit(now, amount)])
            return Entry(packed, now + expiry)

        return amount <= limit and self._entries.change(_MOVING + key, acquired) is not None

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest of what counts was counted, seconds since 1970, and how much counts."""
        now = time.time()
        hits = _hits(self._entries.get(_MOVING + key), now - expiry)
        return min((hit.at for hit in hits), default=now), sum(hit.amount for hit in hits)

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count ``amount`` more if the windows, the previous one weighted, then hold no more than ``limit``."""

        def acquired(there: Entry | None) -> Entry | None:
            now = time.time()
            windows = _windows(there, expiry, now)
            weighted = windows.previous * windows.previous_left(expiry, now) / expiry
            if math.floor(weighted) + windows.current + amount > limit:
                return None
            grown = windows._replace(current=windows.current + amount)
            return Entry(_WINDOWS.pack(*grown), grown.start + 2 * expiry)

        return amount <= limit and self._entries.change(_SLIDING + key, acquired) is not None

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """How much the previous and the current window hold, each with the seconds that it still counts."""
        now = time.time()
        windows = _windows(self._entries.get(_SLIDING + key), expiry, now)
        return (
            windows.previous,
            windows.previous_left(expiry, now) if windows.previous else 0.0,
            windows.current,
            windows.start + 2 * expiry - now if windows.previous or windows.current else 0.0,
        )

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forget what was counted for a key."""
        self._entries.remove(_SLIDING + key)

    def check(self) -> bool:
        """Whether a cluster answers."""
        try:
            self._entries.get("")
        except HazelcastError:
            return False
        return True

    def reset(self) -> int:
        """Forget every limit of this prefix. Gives how many there were."""
        count = self._entries.count()
        self._entries.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget what was counted for a key, by whatever strategy."""
        for _, future in self._entries.remove_all([_FIXED + key, _MOVING + key, _SLIDING + key]):
            future.result()


_COUNT = struct.Struct(">q")
_HIT = struct.Struct(">dq")
_WINDOWS = struct.Struct(">dqq")


class _Hit(NamedTuple):
    at: float  # seconds since 1970
    amount: int


class _Windows(NamedTuple):
    """Two windows, one behind the other."""

    start: float  # of the current one, seconds since 1970
    previous: int
    current: int

    def previous_left(self, expiry: int, now: float) -> float:
        """Seconds that the previous window still counts."""
        return min(max(0.0, self.start + expiry - now), expiry)


def _counted(entry: Entry | None) -> int:
    return 0 if entry is None else int(_COUNT.unpack(entry.value)[0])


def _hits(entry: Entry | None, since: float) -> list[_Hit]:
    hits = [] if entry is None else [_Hit(*unpacked) for unpacked in _HIT.iter_unpack(entry.value)]
    return [hit for hit in hits if hit.at >= since]


def _windows(entry: Entry | None, expiry: int, now: float) -> _Windows:
    if entry is None:
        return _Windows(now, 0, 0)
    windows = _Windows(*_WINDOWS.unpack(entry.value))
    # The entry ends with its current window as the previous one: at most one window has passed.
    if windows.start + expiry <= now:
        return _Windows(windows.start + expiry, windows.current, 0)
    return windows
