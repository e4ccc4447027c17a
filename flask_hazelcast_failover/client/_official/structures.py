"""Creating and destroying structures, and dropping what an official client keeps for them.

When a structure is destroyed, the official client drops the proxy, but neither its near cache nor its listeners. Clients
of other clusters, for which the structure was destroyed too, drop nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hazelcast.errors import HazelcastError
from hazelcast.future import Future, combine_futures
from hazelcast.invocation import Invocation
from hazelcast.protocol.codec import client_create_proxy_codec
from hazelcast.proxy import RELIABLE_TOPIC_SERVICE, RINGBUFFER_SERVICE
from hazelcast.proxy.cp.fenced_lock import FencedLock
from hazelcast.proxy.map import MapFeatNearCache
from hazelcast.proxy.reliable_topic import _RINGBUFFER_PREFIX, ReliableTopic

_Release = Callable[[MapFeatNearCache[Any, Any]], None]


def create(client: Any, service: str, name: str) -> Future[Any]:
    """Have the members create a structure, as the official getter does, but without a proxy.

    The future completes when all requests have.
    """
    structures = [(service, name)]
    if service == RELIABLE_TOPIC_SERVICE:
        structures.append((RINGBUFFER_SERVICE, _RINGBUFFER_PREFIX + name))
    futures: list[Future[Any]] = []
    for its_service, its_name in structures:
        invocation = Invocation(client_create_proxy_codec.encode_request(its_name, its_service))
        client._invocation_service.invoke(invocation)
        futures.append(invocation.future)
    return combine_futures(futures)


def destroy(client: Any, proxy: Any) -> bool:
    """Destroy a structure on the cluster. Blocks.

    The official client destroys only structures whose proxy it has, and returns ``False`` for others.
    """
    client._proxy_manager._proxies.setdefault((proxy.service_name, proxy.name), proxy)
    destroyed: bool = proxy.destroy()
    return destroyed


def drop_proxy(client: Any, release_near_cache: _Release, proxy: Any) -> None:
    """Drop a proxy and what belongs to it, at the client only: the structure stays on the members."""
    if isinstance(proxy, FencedLock):
        manager = client.cp_subsystem._proxy_manager
        with manager._mux:
            _drop(manager._lock_proxies, proxy._proxy_name, proxy)
        return
    proxies = client._proxy_manager._proxies
    if not hasattr(proxy, "service_name"):
        return  # of the CP subsystem, for which the official client keeps locks only
    _drop(proxies, (proxy.service_name, proxy.name), proxy)
    with suppress(HazelcastError, OSError):  # the members to deregister it from are gone
        if isinstance(proxy, MapFeatNearCache):
            release_near_cache(proxy)
    if isinstance(proxy, ReliableTopic):
        for runner in list(proxy._runners.values()):
            runner.cancel()
        ring_buffer = proxy._ringbuffer
        _drop(proxies, (ring_buffer.service_name, ring_buffer.name), ring_buffer)


def _drop(kept: dict[Any, Any], key: Any, proxy: Any) -> None:
    if kept.get(key) is proxy:
        kept.pop(key, None)
