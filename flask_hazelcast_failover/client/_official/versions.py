"""Checks that the installed official client has the private parts that this package uses."""

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
from hazelcast.serialization.data import Data
from hazelcast.transaction import Transaction

_CLIENT_PARTS = (
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
    "_connection_manager._lifecycle_service.fire_lifecycle_event",
    "_internal_cluster_service.get_member",
    "_internal_cluster_service._initial_list_fetched",
    "_internal_lifecycle_service.running",
    "_invocation_service._complete_with_error",
    "_invocation_service._notify",
    "_invocation_service._notify_error",
    "_invocation_service._pending",
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
    "_context.serialization_service.to_data",
    "_context.serialization_service.to_object",
    "_shutdown_lock",
)
# Parts of classes that have no instances yet when the client is checked.
_CLASS_PARTS: tuple[tuple[type[object], str], ...] = (
    (Data, "buffer"),
    (Data, "get_type"),
    (Future, "_chain"),
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
# Parts of the waker. Without them it would stay unpatched, get stuck, and delay every call.
_WAKER_PARTS = (
    "_reactor._loop.waker._read_fd",
    "_reactor._loop.waker._write_fd",
    "_reactor._loop.waker.awake",
    "_reactor._loop.waker.handle_read",
)


class UnsupportedVersion(Exception):
    """The official client lacks private parts that are used here."""


def check_classes() -> None:
    """Reject an official client whose classes lack parts, before one is created.

    :raises UnsupportedVersion: names the parts, and the versions that have them
    """
    if missing := missing_class_parts():
        raise UnsupportedVersion(unsupported_version(missing))


def check_parts(client: object) -> None:
    """Reject an official client that lacks parts, before any of them is used.

    :raises UnsupportedVersion: names the parts, and the versions that have them
    """
    if missing := missing_parts(client):
        raise UnsupportedVersion(unsupported_version(missing))


def missing_parts(client: object) -> list[str]:
    """The private parts that this version of the official client lacks, as paths from the client."""
    used = (*_CLIENT_PARTS, *_WAKER_PARTS) if _has_piped_waker(client) else _CLIENT_PARTS
    return [path for path in used if not _has(client, path.split("."))]


def missing_class_parts() -> list[str]:
    """The private parts that its classes lack."""
    return [f"{owner.__name__}.{name}" for owner, name in _CLASS_PARTS if not hasattr(owner, name)]


def unsupported_version(missing: Iterable[str]) -> str:
    """The error message for an official client that lacks these parts."""
    return (
        f"hazelcast-python-client {hazelcast.__version__} has no {', '.join(missing)}, which this"
        " package uses; install a version that it was tested with (5.5 to 5.7)"
    )


def _has_piped_waker(client: object) -> bool:
    """Whether its reactor should have one: not on Windows, nor where it falls back to a loop without wake-ups."""
    reactor = getattr(client, "_reactor", None)
    without: type[object] = getattr(hazelcast.reactor, "_BasicLoop", type(None))
    return os.name != "nt" and not isinstance(getattr(reactor, "_loop", None), without)


def _has(part: object, path: list[str]) -> bool:
    for name in path:
        if not hasattr(part, name):
            return False
        part = getattr(part, name)
    return True
