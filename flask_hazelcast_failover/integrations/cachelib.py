"""A cachelib backend, and through it Flask-Caching and Flask-Session on Hazelcast."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar, cast

from cachelib import BaseCache
from flask import Flask
from hazelcast.errors import ClientOfflineError, OperationTimeoutError
from hazelcast.future import Future

from flask_hazelcast_failover._extension import HazelcastFailover
from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.integrations._entries import Entry, EntryMap, ends_in
from flask_hazelcast_failover.integrations._source import ClientSource
from flask_hazelcast_failover.integrations.serializer import SafeSerializer, Serializer

__all__ = ["HazelcastCache", "WhenOffline"]

_logger = logging.getLogger("flask_hazelcast_failover.cache")

Answer = TypeVar("Answer")
Timeout = int | float | timedelta | None

# The stored form begins with what it is: a whole number, which any serializer's cache can count with, or
# what the serializer made.
_NUMBER, _SERIALIZED = b"n", b"s"
# No cluster can be reached, or none answers in time.
_AWAY = (ClientOfflineError, OperationTimeoutError)


class WhenOffline(str, Enum):
    """What a cache does while no cluster answers."""

    MISS = "miss"
    """It holds nothing and takes nothing, and says so in cachelib's way: ``None``, ``False``, ``[]``."""

    RAISE = "raise"
    """It raises what the client raises."""


class HazelcastCache(BaseCache):
    """A cache in a Hazelcast map.

    :param client: a ``HazelcastClient`` or the ``HazelcastFailover`` extension; without it, the extension of
        the current app, and its ``CACHE_KEY_PREFIX`` unless there is a ``key_prefix``
    :param map_name: name of the map
    :param default_timeout: seconds that a value lives when ``set`` and the others are not told; 0 means for
        ever
    :param key_prefix: keeps caches in the same map apart, or a callable that returns it; no two collide
    :param serializer: turns values into bytes; the default stores JSON with more types and runs no code
    :param when_offline: ``"miss"``: a cache that cannot be reached is an empty one; ``"raise"``: it raises
    :param ignore_delete_many_errors: whether ``delete_many`` raises ``RuntimeError`` for what it could not delete
    :raises TypeError: for a client, a name or a prefix of the wrong type
    :raises ValueError: for an empty name or an unknown ``when_offline``

    While no cluster answers, the cache is empty by default. What may or may not have been counted or added
    raises ``OperationOutcomeUnknown``, whatever ``when_offline`` says.
    """

    serializer: Serializer = SafeSerializer()

    def __init__(
        self,
        client: HazelcastClient | HazelcastFailover | Flask | None = None,
        map_name: str = "cache",
        default_timeout: int | timedelta = 300,
        key_prefix: str | Callable[[], str] | None = "",
        *,
        serializer: Serializer | None = None,
        when_offline: WhenOffline | str = WhenOffline.MISS,
        ignore_delete_many_errors: bool = True,
    ) -> None:
        if isinstance(client, Flask) and isinstance(map_name, Mapping):
            # Flask-Caching calls a class as if it were a factory(), unless "cachelib" is in its dotted name.
            arguments = _of_flask_caching(client, map_name, *cast("Any", (default_timeout, key_prefix)))
            HazelcastCache.__init__(self, *arguments[0], **arguments[1])
            return
        if not isinstance(map_name, str):
            raise TypeError(f"map_name must be a str, not a {type(map_name).__name__}")
        if not map_name:
            raise ValueError("map_name must not be empty: it is the name of the map that holds the cache")
        if not (key_prefix is None or isinstance(key_prefix, str) or callable(key_prefix)):
            raise TypeError(
                f"key_prefix must be a str or a callable that returns one, not a {type(key_prefix).__name__}"
            )
        super().__init__(cast("int", default_timeout))
        self.ignore_delete_many_errors = ignore_delete_many_errors
        if serializer is not None:
            self.serializer = serializer
        self._when_offline = WhenOffline(when_offline)
        self._key_prefix = key_prefix or ""
        self._source = ClientSource(client)
        self._entries = EntryMap(self._source.client, map_name, self._prefix)

    @classmethod
    def factory(
        cls, app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HazelcastCache:
        """Make the cache of an app that Flask-Caching asks for.

        :param config: the app's configuration, of which ``CACHE_KEY_PREFIX`` is used
        :param args: positional arguments of the class, ``CACHE_ARGS``
        :param kwargs: its other arguments, ``CACHE_OPTIONS``
        """
        positional, named = _of_flask_caching(app, config, args, kwargs)
        return cls(*positional, **named)

    def get(self, key: str) -> Any:
        """The value, or ``None`` if there is none that can be read."""
        return self._value(key, self._unless_away(lambda: self._entries.get(key), None))

    def get_many(self, *keys: str) -> list[Any]:
        """The values, ``None`` for each that is not there. One round trip for all."""
        nothing: dict[str, Entry] = {}
        found = self._unless_away(lambda: self._entries.get_all(keys), nothing)
        return [self._value(key, found.get(key)) for key in keys]

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value, in the place of any other. Whether it was stored."""
        entry = self._entry(value, timeout)
        if entry is None:
            return False
        return self._done(lambda: self._entries.set(key, entry))

    def set_many(self, mapping: dict[str, Any], timeout: Timeout = None) -> list[str]:
        """Store many values, all on their way at once. Gives the keys of those that were stored."""
        entries = {key: self._entry(value, timeout) for key, value in mapping.items()}
        storable = {key: entry for key, entry in entries.items() if entry is not None}
        return self._arrived(lambda: self._entries.set_all(storable))

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value unless there is one. Of many that try at once, one is told ``True``.

        :raises OperationOutcomeUnknown: it may or may not have been stored
        """
        entry = self._entry(value, timeout)
        if entry is None:
            return False

        def unless_there(there: Entry | None) -> Entry | None:
            return entry if there is None else None

        return self._unless_away(lambda: self._entries.change(key, unless_there) is not None, False)

    def delete(self, key: str) -> bool:
        """Delete a value. Whether there was one."""
        return self._unless_away(lambda: self._entries.remove(key), False)

    def delete_many(self, *keys: str) -> list[str]:
        """Delete many values, all on their way at once. Gives the keys that are surely not there any more.

        :raises RuntimeError: if some may still be there, and ``ignore_delete_many_errors`` is false
        """
        deleted = self._arrived(lambda: self._entries.remove_all(keys))
        failed = [key for key in keys if key not in set(deleted)]
        if failed and not self.ignore_delete_many_errors:
            raise RuntimeError(f"Failed to delete keys: {failed}")
        return deleted

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        return self._unless_away(lambda: self._entries.get(key) is not None, False)

    def clear(self) -> bool:
        """Delete every value of this prefix, and nothing else in the map. Whether that was done."""
        return self._done(self._entries.clear)

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, which keeps its end; one that is not there begins at 0. ``None`` while offline.

        :raises OperationOutcomeUnknown: it may or may not have been added
        :raises TypeError: the value is not a number
        """

        def added(there: Entry | None) -> Entry | None:
            total = self._number(key, there) + delta
            end = ends_in(self._seconds(None)) if there is None else there.end
            stored = self._stored(total)
            return None if stored is None else Entry(stored, end)

        entry = self._unless_away(lambda: self._entries.change(key, added), None)
        return None if entry is None else cast("int", self._read(entry.value))

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Take from a number; otherwise as ``inc``."""
        return self.inc(key, -delta)

    def _entry(self, value: Any, timeout: Timeout) -> Entry | None:
        stored = self._stored(value)
        return None if stored is None else Entry(stored, ends_in(self._seconds(timeout)))

    def _stored(self, value: Any) -> bytes | None:
        if type(value) is int:
            return _NUMBER + str(value).encode()
        made = self.serializer.dumps(value)
        return None if made is None else _SERIALIZED + made

    def _value(self, key: str, entry: Entry | None) -> Any:
        if entry is None:
            return None
        try:
            return self._read(entry.value)
        except Exception as error:  # a serializer of somebody else's: a value that cannot be read is none
            _logger.warning("the value of %r cannot be read (%s): was it stored otherwise?", key, error)
            return None

    def _read(self, stored: bytes) -> Any:
        if stored.startswith(_NUMBER):
            return int(stored[1:])
        return self.serializer.loads(stored[1:])

    def _number(self, key: str, entry: Entry | None) -> Any:
        value = 0 if entry is None else self._read(entry.value)
        if not isinstance(value, (int, float)):
            raise TypeError(
                f"the value of {key!r} is a {type(value).__name__}: only numbers can be counted up"
            )
        return value

    def _seconds(self, timeout: Timeout) -> float:
        given: Any = self.default_timeout if timeout is None else timeout  # not rounded up, as cachelib would
        seconds = given.total_seconds() if isinstance(given, timedelta) else given
        if seconds < 0:
            raise ValueError(f"timeout must be 0 (for ever) or more seconds, not {timeout}")
        return float(seconds)

    def _prefix(self) -> str:
        if callable(self._key_prefix):
            return self._key_prefix()
        app = None if self._key_prefix else self._source.app
        return self._key_prefix if app is None else str(app.config.get("CACHE_KEY_PREFIX") or "")

    def _unless_away(self, operation: Callable[[], Answer], otherwise: Answer) -> Answer:
        try:
            return operation()
        except _AWAY as error:
            if self._when_offline is WhenOffline.RAISE:
                raise
            _logger.debug("answered as an empty cache: %s", error)
            return otherwise

    def _done(self, operation: Callable[[], object]) -> bool:
        return self._unless_away(lambda: (operation(), True)[1], False)

    def _arrived(self, start: Callable[[], list[tuple[str, Future[None]]]]) -> list[str]:
        nothing: list[tuple[str, Future[None]]] = []
        return [key for key, future in self._unless_away(start, nothing) if self._done(future.result)]


def _of_flask_caching(
    app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    positional = list(args) or ([] if "client" in kwargs else [app])
    named = dict(kwargs)
    if len(positional) < 4:
        named.setdefault("key_prefix", config.get("CACHE_KEY_PREFIX"))
    return positional, named
