"""Near caches that never keep what nobody tells them the changes of.

The official client goes on serving what it holds when a connection is lost, and with it the changes that the
member would have told of; it registers its listener anew without a look at what it holds, or not at all if
a member refuses; and it keeps what a member said before a change that it was told of meanwhile.
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
from hazelcast.protocol.client_message import (
    _OUTBOUND_MESSAGE_MESSAGE_TYPE_OFFSET as _TYPE_OFFSET,
)
from hazelcast.protocol.codec import map_add_near_cache_invalidation_listener_codec
from hazelcast.proxy.map import Map, MapFeatNearCache
from hazelcast.serialization import LE_INT

from flask_hazelcast_failover.client._official.listeners.registration import ListenerRegistration
from flask_hazelcast_failover.client._official.transport.clock import MonotonicNearCache

__all__ = ["ConsistentNearCaches"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long after a member has refused to tell of changes it is asked again, seconds.
_PAUSE = 1.0
_LISTENS = map_add_near_cache_invalidation_listener_codec._REQUEST_MESSAGE_TYPE

_number = itertools.count(1).__next__


class ConsistentNearCaches:
    """The near caches of an official client. To be made before it connects.

    :param client: drops from now on what its near caches may not have been told the changes of
    :param registering: registers what tells of changes
    """

    def __init__(self, client: Any, registering: ListenerRegistration) -> None:
        self._client = client
        self._registering = registering
        self._manager = client._near_cache_manager
        self._listeners = client._listener_service
        self._caches: weakref.WeakValueDictionary[int, _NearCache] = weakref.WeakValueDictionary()
        # Listener id -> what is told by it; single steps of a dict by any thread.
        self._told: dict[str, _NearCache] = {}
        self._manager.get_or_create_near_cache = self._new
        self._manager.clear_near_caches = self._clear
        proxies = client._proxy_manager
        proxies._create_proxy = partial(self._created, proxies._create_proxy)
        registering.when_answered = self._answered
        # A member that is gone takes along what it was about to tell, also over connections of others. One that
        # is new owns entries before it has the listener.
        client._connection_manager.add_listener(on_connection_closed=lambda _: self._clear())
        client.cluster_service.add_listener(lambda _: self._clear(), lambda _: self._clear())

    def let_go(self, proxy: MapFeatNearCache[Any, Any]) -> None:
        """Have a map that was destroyed listen to nothing and keep nothing from now on."""
        cache: Any = proxy._near_cache
        cache.close()
        if proxy._invalidation_listener_id is not None:
            self._told.pop(proxy._invalidation_listener_id, None)
        proxy._on_destroy()
        if self._manager._caches.get(proxy.name) is cache:
            self._manager._caches.pop(proxy.name, None)

    def _new(self, name: str) -> _NearCache:
        """In place of the official method: one for each proxy, so that one that was destroyed empties no other's."""
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
        self._caches[_number()] = cache
        return cache

    def _clear(self) -> None:
        for reference in self._caches.valuerefs():
            if (cache := reference()) is not None:
                cache._clear()  # type: ignore[no-untyped-call]

    def _created(self, official: Callable[..., Any], *args: Any) -> Any:
        proxy = official(*args)
        if isinstance(proxy, MapFeatNearCache):
            cache: Any = proxy._near_cache
            id_ = proxy._invalidation_listener_id
            if id_ is not None:
                self._told[id_] = cache
                cache.is_covered = partial(self._is_covered, id_)
            proxy._get_internal = partial(_get, proxy, cache)  # type: ignore[method-assign]
        return proxy

    def _is_covered(self, id_: str) -> bool:
        """Whether every member that entries can belong to tells of their changes."""
        registration = self._listeners._active_registrations.get(id_)
        connections = self._client._connection_manager.active_connections.copy()
        if registration is None:
            return False
        owners = list(connections)
        if self._client.is_smart:  # then each member tells of its own entries only
            owners = [member.uuid for member in self._client.member_list() if not member.lite_member]
        told_by = registration.connection_registrations
        return bool(owners) and all(connections.get(owner) in told_by for owner in owners)

    def _answered(self, id_: str, registration: Any, connection: Any, error: BaseException | None) -> None:
        if not _tells_of_changes(registration):
            return
        if error is None:
            # What was read before this member had the listener may have changed there unheard.
            if (cache := self._told.get(id_)) is not None:
                cache._clear()  # type: ignore[no-untyped-call]
        elif self._is_wanted(id_, connection):
            _logger.warning(
                "a near cache keeps nothing: %s does not tell of changes, and is asked again in %g s: %s",
                connection.remote_address,
                _PAUSE,
                error,
            )
            self._client._reactor.add_timer(_PAUSE, partial(self._again, id_, registration, connection))

    def _again(self, id_: str, registration: Any, connection: Any) -> None:
        with self._listeners._registration_lock:
            if self._is_wanted(id_, connection):
                self._registering.register_on(id_, registration, connection)

    def _is_wanted(self, id_: str, connection: Any) -> bool:
        return connection.live and id_ in self._listeners._active_registrations


class _NearCache(MonotonicNearCache):
    """A near cache that takes an answer only if nothing has happened to the key since it was asked for."""

    _is_closed = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)  # type: ignore[no-untyped-call]
        # Whether every change is told of. Set once, before the first read.
        self.is_covered: Callable[[], bool] = lambda: True
        # Key -> the ticket of the latest read under way; single steps of a dict by any thread.
        self._reads: dict[Any, int] = {}

    def begin_read(self, key: Any) -> int:
        """Say that a member is about to be asked for a key, and get a ticket for the answer."""
        ticket = self._reads[key] = _number()
        return ticket

    def end_read(self, key: Any, ticket: int, answer: Future[Any]) -> Any:
        """Keep an answer if it still is true, and return it."""
        if not answer.is_success() or self._reads.get(key) != ticket or not self.is_covered():
            if self._reads.get(key) == ticket:
                self._reads.pop(key, None)
            return answer.result()
        with suppress(LookupError):  # it was emptied while the official eviction looked for what to drop
            self[key] = answer.result()
        # Looked at again: what was dropped meanwhile must not stay.
        if self._reads.pop(key, None) != ticket or self._is_closed:
            self.pop(key, None)
        return answer.result()

    def close(self) -> None:
        """Keep nothing from now on."""
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
        asked: Future[Any] = Map._get_internal(proxy, key_data)
        return asked.continue_with(lambda answer: cache.end_read(key_data, ticket, answer))


def _tells_of_changes(registration: Any) -> bool:
    kind: int = LE_INT.unpack_from(registration.registration_request.buf, _TYPE_OFFSET)[0]
    return kind == _LISTENS
