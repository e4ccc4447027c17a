"""Which versions of the official client have the private parts that are used here."""

from __future__ import annotations

import os
from collections.abc import Iterable

import hazelcast
import hazelcast.reactor
from hazelcast.client import HazelcastClient
from hazelcast.future import Future
from hazelcast.near_cache import NearCache
from hazelcast.proxy.cp.fenced_lock import FencedLock
from hazelcast.proxy.cp.semaphore import SessionAwareSemaphore
from hazelcast.proxy.map import Map, MapFeatNearCache
from hazelcast.proxy.pn_counter import PNCounter
from hazelcast.proxy.reliable_topic import ReliableTopic
from hazelcast.transaction import Transaction

__all__ = [
    "UnsupportedVersion",
    "check_classes",
    "check_parts",
    "missing_of_classes",
    "missing_parts",
    "unsupported_version",
]

_USED = (
    "_reactor.map",
    "_reactor._loop._check_timers",
    "_reactor._loop._is_live",
    "_reactor._loop._new_timers",
    "_reactor._loop._thread",
    "_reactor._loop._timers",
    "_reactor._loop.add_timer",
    "_reactor._loop.run_loop",
    "_reactor._loop.wake_loop",
    "_reactor.add_timer",
    "_reactor.connection_factory",
    "_connection_manager._cluster_id",
    "_connection_manager._translate_member_address",
    "_connection_manager.active_connections",
    "_connection_manager.client_uuid",
    "_connection_manager._get_or_connect_to_member",
    "_connection_manager._heartbeat_manager._check_connection",
    "_connection_manager._heartbeat_manager.start",
    "_connection_manager.connect_to_all_cluster_members",
    "_connection_manager._start_connect_all_members_timer",
    "_connection_manager._trigger_cluster_reconnection",
    "_connection_manager._wait_strategy.reset",
    "_connection_manager._wait_strategy.sleep",
    "_cluster_service.get_members",
    "_compact_schema_service.send_schema_and_retry",
    "_config.smart_routing",
    "_cp_subsystem._proxy_manager._create_fenced_lock",
    "_cp_subsystem._proxy_manager._create_semaphore",
    "_cp_subsystem._proxy_manager._lock_proxies",
    "_cp_subsystem._proxy_manager._mux",
    "_internal_cluster_service._initial_list_fetched",
    "_internal_lifecycle_service.running",
    "_invocation_service._notify",
    "_invocation_service._notify_error",
    "_invocation_service._should_retry",
    "_invocation_service._start_clean_resources_timer",
    "_invocation_service.invoke",
    "_invocation_service.shutdown",
    "_cluster_view_listener._handler",
    "_cluster_view_listener._listener_added_connection",
    "_cluster_view_listener._try_register",
    "_cluster_view_listener._try_register_to_random_connection",
    "_listener_service._active_registrations",
    "_listener_service._connection_manager",
    "_listener_service._event_handlers",
    "_listener_service._register_on_connection",
    "_listener_service._registration_lock",
    "_listener_service.deregister_listener",
    "_near_cache_manager._caches",
    "_near_cache_manager._config",
    "_near_cache_manager._serialization_service",
    "_listener_service.register_listener",
    "_listener_service.remove_event_handler",
    "_near_cache_manager.clear_near_caches",
    "_near_cache_manager.get_or_create_near_cache",
    "_proxy_manager._create_proxy",
    "_proxy_manager._proxies",
    "_proxy_manager.get_or_create",
    "_proxy_session_manager._do_create_new_session",
    "_proxy_session_manager._get_or_create_session",
    "_proxy_session_manager._lock",
    "_proxy_session_manager._request_close_session",
    "_proxy_session_manager._request_new_session",
    "_proxy_session_manager._sessions",
    "_proxy_session_manager._shutdown",
    "_context.invocation_service",
    "_context.lock_reference_id_generator",
    "_shutdown_lock",
)
# Of classes whose objects are not there yet when the client is checked.
_USED_OF_CLASSES: tuple[tuple[type[object], str], ...] = (
    (Future, "_invoke_cb"),
    (Future, "_reactor_check"),
    (Future, "_threading_locals"),
    (HazelcastClient, "_start"),
    (Map, "_get_internal"),
    (MapFeatNearCache, "_on_destroy"),
    (NearCache, "_clear"),
    (NearCache, "_invalidate"),
    (PNCounter, "_check_invocation_result"),
    (PNCounter, "_get_max_configured_replica_count"),
    (ReliableTopic, "_add_messages_with_backoff"),
    (ReliableTopic, "_add_with_backoff"),
    (FencedLock, "_do_try_lock"),
    (SessionAwareSemaphore, "_do_try_acquire"),
    (Transaction, "_check_timeout"),
)
# Of the waker that gets stuck. Without them it would stay as it is, and every call be late for good.
_USED_OF_WAKER = (
    "_reactor._loop.waker._read_fd",
    "_reactor._loop.waker._write_fd",
    "_reactor._loop.waker.awake",
    "_reactor._loop.waker.handle_read",
)


class UnsupportedVersion(Exception):
    """The official client lacks private parts that are used here."""


def check_classes() -> None:
    """Refuse an official client whose classes lack private parts that are used here, before one is made.

    :raises UnsupportedVersion: naming them, and the versions that have them
    """
    if missing := missing_of_classes():
        raise UnsupportedVersion(unsupported_version(missing))


def check_parts(client: object) -> None:
    """Refuse an official client without the private parts that are used here, before any is touched.

    :raises UnsupportedVersion: naming them, and the versions that have them
    """
    if missing := missing_parts(client):
        raise UnsupportedVersion(unsupported_version(missing))


def missing_parts(client: object) -> list[str]:
    """Which of the private parts used here this version of the official client lacks."""
    used = (*_USED, *_USED_OF_WAKER) if _has_piped_waker(client) else _USED
    return [path for path in used if not _has(client, path.split("."))]


def missing_of_classes() -> list[str]:
    """The same of its classes."""
    return [f"{owner.__name__}.{name}" for owner, name in _USED_OF_CLASSES if not hasattr(owner, name)]


def unsupported_version(missing: Iterable[str]) -> str:
    """The message for an official client that lacks private parts."""
    return (
        f"hazelcast-python-client {hazelcast.__version__} has no {', '.join(missing)}, which this"
        " package uses; install a version that it was tested with (5.5 to 5.7)"
    )


def _has_piped_waker(client: object) -> bool:
    """Whether it should have one: all but the loop of Windows and the one without wake-ups do."""
    reactor = getattr(client, "_reactor", None)
    without: type[object] = getattr(hazelcast.reactor, "_BasicLoop", type(None))
    return os.name != "nt" and not isinstance(getattr(reactor, "_loop", None), without)


def _has(holder: object, path: list[str]) -> bool:
    for name in path:
        if not hasattr(holder, name):
            return False
        holder = getattr(holder, name)
    return True
