"""Near caches that keep no entry whose invalidation they may miss.

The official near cache serves stale entries in three cases. A connection is lost, and with it the member's
invalidations. Its listener is registered again later, or not at all if a member refuses. And an invalidation comes while
the value read before it is still on its way.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from hazelcast.future import Future, ImmediateFuture
from hazelcast.protocol.client_message import _OUTBOUND_MESSAGE_MESSAGE_TYPE_OFFSET as _TYPE_OFFSET
from hazelcast.protocol.codec import map_add_near_cache_invalidation_listener_codec
from hazelcast.proxy.map import Map, MapFeatNearCache
from hazelcast.serialization import LE_INT

from ..transport.clock import MonotonicNearCache
from .registration import ListenerRegistration

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long after a member has refused the listener it is requested again, seconds.
_RETRY_DELAY = 1.0
_LISTENER_REQUEST = map_add_near_cache_invalidation_listener_codec._REQUEST_MESSAGE_TYPE

_next_number = itertools.count(1).__next__


class ConsistentNearCaches:
    """The near caches of an official client. Has to be made before the client connects.

    :param client: whose near caches are replaced
    :param registrations: registers their invalidation listeners
    """

    def __init__(self, client: Any, registrations: ListenerRegistration) -> None:
        self._client = client
        self._registrations = registrations
        self._manager = client._near_cache_manager
        self._listeners = client._listener_service
        self._caches: weakref.WeakValueDictionary[int, _NearCache] = weakref.WeakValueDictionary()
        # Listener id -> the cache that it invalidates; atomic steps of a dict by any thread.
        self._cache_of: dict[str, _NearCache] = {}
        self._manager.get_or_create_near_cache = self._create
        self._manager.clear_near_caches = self._clear
        proxies = client._proxy_manager
        proxies._create_proxy = partial(self._create_proxy, proxies._create_proxy)
        registrations.on_response = self._on_registration
        # Invalidations of a lost member are lost, also those that it sends by way of others. A new member owns entries
        # before it has the listener.
        client._connection_manager.add_listener(on_connection_closed=lambda _: self._clear())
        client.cluster_service.add_listener(lambda _: self._clear(), lambda _: self._clear())

    def release(self, proxy: MapFeatNearCache[Any, Any]) -> None:
        """Remove the listener and the cache of a map that was destroyed."""
        cache: Any = proxy._near_cache
        cache.close()
        if proxy._invalidation_listener_id is not None:
            self._cache_of.pop(proxy._invalidation_listener_id, None)
        proxy._on_destroy()
        if self._manager._caches.get(proxy.name) is cache:
            self._manager._caches.pop(proxy.name, None)

    def _create(self, name: str) -> _NearCache:
        """Replaces ``NearCacheManager.get_or_create_near_cache``, in which a destroyed proxy clears its successor's."""
        config = self._manager._config.near_caches[name]
        cache = self._manager._caches[name] = _NearCache(
            name,
            self._manager._serialization_service,
            config.in_memory_format,
            config.time_to_live,
            config.max_idle,
            config.invalidate_on_change,
            config.eviction_policy,
            config.eviction_max_size,
            config.eviction_sampling_count,
            config.eviction_sampling_pool_size,
        )
        self._caches[_next_number()] = cache
        return cache

    def _clear(self) -> None:
        for reference in self._caches.valuerefs():
            if (cache := reference()) is not None:
                cache._clear()  # type: ignore[no-untyped-call]

    def _create_proxy(self, official: Callable[..., Any], *args: Any) -> Any:
        proxy = official(*args)
        if isinstance(proxy, MapFeatNearCache):
            cache: Any = proxy._near_cache
            id_ = proxy._invalidation_listener_id
            if id_ is not None:
                self._cache_of[id_] = cache
                cache.is_covered = partial(self._is_covered, id_)
            proxy._get_internal = partial(_get, proxy, cache)  # type: ignore[method-assign]
        return proxy

    def _is_covered(self, id_: str) -> bool:
        """Whether every member that can own entries has the listener."""
        registration = self._listeners._active_registrations.get(id_)
        connections = self._client._connection_manager.active_connections.copy()
        if registration is None:
            return False
        owners = list(connections)
        if self._client.is_smart:  # each member sends the invalidations of its own entries only
            owners = [member.uuid for member in self._client.member_list() if not member.lite_member]
        registered = registration.connection_registrations
        return bool(owners) and all(connections.get(owner) in registered for owner in owners)

    def _on_registration(
        self, id_: str, registration: Any, connection: Any, error: BaseException | None
    ) -> None:
        if not _is_invalidation_listener(registration):
            return
        if error is None:
            # Entries that were read before this member had the listener may be stale.
            if (cache := self._cache_of.get(id_)) is not None:
                cache._clear()  # type: ignore[no-untyped-call]
        elif self._is_needed(id_, connection):
            _logger.warning(
                "a near cache stays empty: %s refuses its invalidation listener, next try in %g s: %s",
                connection.remote_address,
                _RETRY_DELAY,
                error,
            )
            self._client._reactor.add_timer(_RETRY_DELAY, partial(self._retry, id_, registration, connection))

    def _retry(self, id_: str, registration: Any, connection: Any) -> None:
        with self._listeners._registration_lock:
            if self._is_needed(id_, connection):
                self._registrations.register_on_connection(id_, registration, connection)

    def _is_needed(self, id_: str, connection: Any) -> bool:
        return connection.live and id_ in self._listeners._active_registrations


class _NearCache(MonotonicNearCache):
    """A near cache that keeps a value only if the key was not invalidated since the read began."""

    _is_closed = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        # Whether every invalidation arrives. Set once, before the first read.
        self.is_covered: Callable[[], bool] = lambda: True
        # Key -> the ticket of its latest pending read; atomic steps of a dict by any thread.
        self._reads: dict[Any, int] = {}

    def begin_read(self, key: Any) -> int:
        """Begin a read of a key; returns a ticket for ``end_read``."""
        ticket = self._reads[key] = _next_number()
        return ticket

    def end_read(self, key: Any, ticket: int, read: Future[Any]) -> Any:
        """Keep the value that was read if it is still valid, and return it."""
        if not read.is_success() or self._reads.get(key) != ticket or not self.is_covered():
            if self._reads.get(key) == ticket:
                self._reads.pop(key, None)
            return read.result()
        with suppress(LookupError):  # cleared while the official eviction was choosing an entry
            self[key] = read.result()
        # Checked again: it may have been invalidated while it was stored.
        if self._reads.pop(key, None) != ticket or self._is_closed:
            self.pop(key, None)
        return read.result()

    def close(self) -> None:
        """Keep no entry from now on."""
        self._is_closed = True
        self.clear()

    def clear(self) -> None:
        self._reads.clear()
        super().clear()

    def _invalidate(self, key_data: Any) -> None:
        self._reads.pop(key_data, None)
        super()._invalidate(key_data)  # type: ignore[no-untyped-call]


def _get(proxy: Any, cache: _NearCache, key_data: Any) -> Future[Any]:
    try:
        return ImmediateFuture(cache[key_data])
    except KeyError:
        ticket = cache.begin_read(key_data)
        read: Future[Any] = Map._get_internal(proxy, key_data)
        return read.continue_with(partial(cache.end_read, key_data, ticket))


def _is_invalidation_listener(registration: Any) -> bool:
    kind: int = LE_INT.unpack_from(registration.registration_request.buf, _TYPE_OFFSET)[0]
    return kind == _LISTENER_REQUEST
