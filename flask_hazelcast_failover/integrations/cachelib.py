"""A cachelib backend, for Flask-Caching and Flask-Session on Hazelcast."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, TypeVar, cast

from cachelib import BaseCache
from flask import Flask, current_app, has_request_context

from .._extension import HazelcastFailover
from .._flask_app import is_flask_app, unproxied
from .._foreign_text import printable
from .._offline.session_store import check_session_store
from ..client import HazelcastClient
from ..errors import OperationOutcomeUnknown
from ._entries import OFFLINE_ERRORS, Entry, EntryMap, ends_in
from ._source import ClientSource
from .serializer import SafeSerializer, Serializer

__all__ = ["HazelcastCache", "WhenOffline"]

_logger = logging.getLogger("flask_hazelcast_failover.cache")

Result = TypeVar("Result")
Timeout = int | float | timedelta | None

# The first byte of the stored form: a whole number, which can be counted with any serializer; None, which those of
# cachelib also give for what they cannot load; anything else, as the serializer stores it.
_NUMBER, _NONE, _SERIALIZED = b"n", b"0", b"s"
# What is loaded where there is no value, or none that can be read.
_ABSENT = object()
# How much of a serializer's error a message repeats, in characters.
_MAX_WHY = 200


class WhenOffline(str, Enum):
    """What a cache does while no cluster answers."""

    MISS = "miss"
    """It is empty and stores nothing; methods return ``None``, ``False`` or ``[]``, as cachelib defines."""

    RAISE = "raise"
    """It raises what the client raises."""


class HazelcastCache(BaseCache):
    """A cache in a Hazelcast map.

    :param client: a ``HazelcastClient`` or the ``HazelcastFailover`` extension; without it, the extension of
        the current app, and its ``CACHE_KEY_PREFIX`` unless there is a ``key_prefix``
    :param map_name: name of the map
    :param default_timeout: seconds that a value lives if the method is given no ``timeout``; 0 means forever
    :param key_prefix: separates caches in the same map, or a callable that returns it; prefixes never collide
    :param serializer: turns values into bytes; the default is JSON with more types; loading it runs no code
    :param when_offline: ``"miss"``: the cache is empty; ``"raise"``: methods raise. Sessions need ``"raise"``: a visitor
        whose session was missed once gets a new session id
    :param ignore_delete_many_errors: whether ``delete_many`` returns, instead of raising ``RuntimeError``, if it could not
        delete all keys
    :raises TypeError: for a client, a name or a prefix of the wrong type
    :raises ValueError: for an empty name or an unknown ``when_offline``

    A value that the serializer cannot load, as after it was changed, is absent for every method.

    If a value may or may not have been counted or added, ``OperationOutcomeUnknown`` is raised, whatever
    ``when_offline`` is.
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
        client = unproxied("client", client)
        if is_flask_app(client) and isinstance(map_name, Mapping):
            # Flask-Caching calls a class like factory(), unless its dotted name contains "cachelib".
            arguments = _arguments_of_flask_caching(
                client, map_name, *cast("Any", (default_timeout, key_prefix))
            )
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
        self.when_offline = WhenOffline(when_offline)
        self._key_prefix = key_prefix or ""
        self._source = ClientSource(client)
        self._entries = EntryMap(self._source.client, map_name, self._prefix)

    @classmethod
    def factory(
        cls, app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HazelcastCache:
        """Create the cache of an app for Flask-Caching.

        :param config: the app's configuration, of which ``CACHE_KEY_PREFIX`` is used
        :param args: positional arguments of the class, ``CACHE_ARGS``
        :param kwargs: its other arguments, ``CACHE_OPTIONS``
        """
        positional, named = _arguments_of_flask_caching(app, config, args, kwargs)
        return cls(*positional, **named)

    def get(self, key: str) -> Any:
        """The value; ``None`` if there is none."""
        return _or_none(self._loaded(key, self._unless_offline(lambda: self._entries.get(key), None)))

    def get_many(self, *keys: str) -> list[Any]:
        """The values, ``None`` for each missing one, ten thousand in one round trip."""
        found = self._unless_offline(lambda: self._entries.get_all(keys), dict[str, Entry]())
        return [_or_none(self._loaded(key, found.get(key))) for key in keys]

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value; return whether that was done."""
        entry = self._entry(value, timeout)
        if entry is None:
            return False
        return self._done(lambda: self._entries.set(key, entry))

    def set_many(self, mapping: dict[str, Any], timeout: Timeout = None) -> list[str]:
        """Store many values at once; return the keys of those that were stored."""
        entries = {key: self._entry(value, timeout) for key, value in mapping.items()}
        storable = {key: entry for key, entry in entries.items() if entry is not None}
        return self._completed(self._entries.set_all(storable))

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value unless there is one. Of concurrent callers, exactly one gets ``True``.

        :raises OperationOutcomeUnknown: it may or may not have been stored
        """
        entry = self._entry(value, timeout)
        if entry is None:
            return False

        def unless_present(current: Entry | None) -> Entry | None:
            return entry if self._loaded(key, current) is _ABSENT else None

        return self._unless_offline(lambda: self._entries.change(key, unless_present) is not None, False)

    def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        return self._unless_offline(lambda: self._delete(key), False)

    def delete_many(self, *keys: str) -> list[str]:
        """Delete many values at once; return the keys that certainly have no value any more.

        :raises RuntimeError: some may still have a value, and ``ignore_delete_many_errors`` is false
        """
        deleted = self._completed(self._entries.remove_all(keys))
        if len(deleted) < len(keys) and not self.ignore_delete_many_errors:
            certain = set(deleted)
            raise RuntimeError(f"Failed to delete keys: {[key for key in keys if key not in certain]}")
        return deleted

    def has(self, key: str) -> bool:
        """Whether there is a value."""
        found = self._unless_offline(lambda: self._entries.get(key), None)
        return self._loaded(key, found) is not _ABSENT

    def clear(self) -> bool:
        """Delete every value of this prefix; return whether that was done.

        Nothing else in the map is deleted: its own are the keys that are strings and begin with the length of the
        prefix, a colon and the prefix (``0:`` without one). Keys of others may be of any type.
        """
        return self._done(self._entries.clear)

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add to a number, which keeps its expiry; a missing one starts at 0. ``None`` while offline.

        :raises OperationOutcomeUnknown: it may or may not have been added
        :raises TypeError: the value is not a number
        """
        total: Any = None

        def added(current: Entry | None) -> Entry | None:
            nonlocal total
            value = self._loaded(key, current)
            if current is None or value is _ABSENT:
                value, end = 0, ends_in(self._seconds(None))
            else:
                end = current.end
            if not isinstance(value, (int, float)):
                raise TypeError(
                    f"the value of {key!r} is a {type(value).__name__}: only numbers can be counted up"
                )
            total = value + delta
            stored = self._stored(total)
            return None if stored is None else Entry(stored, end)

        entry = self._unless_offline(lambda: self._entries.change(key, added), None)
        return None if entry is None else cast("int", total)

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract from a number; otherwise like ``inc``."""
        return self.inc(key, -delta)

    def _entry(self, value: Any, timeout: Timeout) -> Entry | None:
        stored = self._stored(value)
        return None if stored is None else Entry(stored, ends_in(self._seconds(timeout)))

    def _stored(self, value: Any) -> bytes | None:
        if type(value) is int:
            return _NUMBER + str(value).encode()
        if value is None:
            return _NONE
        serialized = self.serializer.dumps(value)
        return None if serialized is None else _SERIALIZED + serialized

    def _delete(self, key: str) -> bool:
        try:
            removed = self._entries.take(key)
        except OperationOutcomeUnknown:
            self._entries.remove(key)
            return True  # there may have been one
        return self._loaded(key, removed) is not _ABSENT

    def _loaded(self, key: str, entry: Entry | None) -> Any:
        if entry is None:
            return _ABSENT
        try:
            return self._read(entry.value)
        except Exception as error:  # the app's serializer may raise anything
            why = printable(f"{type(error).__name__}: {error}", _MAX_WHY)
            _logger.warning(
                "the value of %r cannot be loaded (%s): was it stored with another serializer?", key, why
            )
            return _ABSENT

    def _read(self, stored: bytes) -> Any:
        kind, content = stored[:1], stored[1:]
        if kind == _NUMBER:
            return int(content)
        if stored == _NONE:
            return None
        if kind != _SERIALIZED:
            raise ValueError("its form is none of those that this release stores")
        value = self.serializer.loads(content)
        if value is None:
            raise ValueError("the serializer gives None for it")
        return value

    def _seconds(self, timeout: Timeout) -> float:
        value: Any = self.default_timeout if timeout is None else timeout  # cachelib would round it up
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if seconds < 0:
            raise ValueError(f"timeout must be 0 (for ever) or more seconds, not {timeout}")
        return float(seconds)

    def _prefix(self) -> str:
        if callable(self._key_prefix):
            return self._key_prefix()
        app = None if self._key_prefix else self._source.app
        return self._key_prefix if app is None else str(app.config.get("CACHE_KEY_PREFIX") or "")

    def _unless_offline(self, operation: Callable[[], Result], default: Result) -> Result:
        if self.when_offline is WhenOffline.RAISE:
            return operation()
        if has_request_context():
            check_session_store(current_app._get_current_object())  # type: ignore[attr-defined]
        try:
            return operation()
        except OFFLINE_ERRORS as error:
            _logger.debug("no cluster answers, treated as an empty cache: %s", error)
            return default

    def _done(self, operation: Callable[[], object]) -> bool:
        return self._unless_offline(lambda: (operation(), True)[1], False)

    def _completed(self, keys: Iterator[str]) -> list[str]:
        completed: list[str] = []

        def complete() -> None:
            for key in keys:
                completed.append(key)  # noqa: PERF402 - keeps those before an error

        self._done(complete)
        return completed


def _or_none(value: Any) -> Any:
    return None if value is _ABSENT else value


def _arguments_of_flask_caching(
    app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    positional = list(args) or ([] if "client" in kwargs else [app])
    named = dict(kwargs)
    if len(positional) < 4:
        named.setdefault("key_prefix", config.get("CACHE_KEY_PREFIX"))
    return positional, named
