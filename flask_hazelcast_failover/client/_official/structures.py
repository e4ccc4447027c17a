"""What the official client keeps of a structure, and how it is made to forget it.

It forgets its proxy when that is destroyed, and none of what goes with it. On a client of another cluster
nothing tells it that a structure was destroyed here.
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

__all__ = ["create", "destroy", "forget"]

_LetGo = Callable[[MapFeatNearCache[Any, Any]], None]


def create(client: Any, service: str, name: str) -> Future[Any]:
    """Have members make a structure, as the official getter does, without a proxy of it.

    The future ends when no request is under way any more.
    """
    wanted = [(service, name)]
    if service == RELIABLE_TOPIC_SERVICE:
        wanted.append((RINGBUFFER_SERVICE, _RINGBUFFER_PREFIX + name))
    asked: list[Future[Any]] = []
    for its_service, its_name in wanted:
        invocation = Invocation(client_create_proxy_codec.encode_request(its_name, its_service))
        client._invocation_service.invoke(invocation)
        asked.append(invocation.future)
    return combine_futures(asked)


def destroy(client: Any, proxy: Any) -> bool:
    """Destroy a structure on the cluster. Blocks.

    The official client destroys only what it knows, and says ``False`` to the rest.
    """
    client._proxy_manager._proxies.setdefault((proxy.service_name, proxy.name), proxy)
    destroyed: bool = proxy.destroy()
    return destroyed


def forget(client: Any, let_near_cache_go: _LetGo, proxy: Any) -> None:
    """Drop a proxy and what goes with it, on this side only: the structure stays on the members."""
    if isinstance(proxy, FencedLock):
        manager = client.cp_subsystem._proxy_manager
        with manager._mux:
            _drop(manager._lock_proxies, proxy._proxy_name, proxy)
        return
    proxies = client._proxy_manager._proxies
    if not hasattr(proxy, "service_name"):
        return  # the official client keeps no other proxy of the CP subsystem
    _drop(proxies, (proxy.service_name, proxy.name), proxy)
    with suppress(HazelcastError, OSError):  # the members that it would be taken off are gone
        if isinstance(proxy, MapFeatNearCache):
            let_near_cache_go(proxy)
    if isinstance(proxy, ReliableTopic):
        for runner in list(proxy._runners.values()):
            runner.cancel()
        ring_buffer = proxy._ringbuffer
        _drop(proxies, (ring_buffer.service_name, ring_buffer.name), ring_buffer)


def _drop(kept: dict[Any, Any], key: Any, proxy: Any) -> None:
    if kept.get(key) is proxy:
        kept.pop(key, None)
