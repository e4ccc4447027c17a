"""Which versions of the official client have the private parts that are used here."""

from __future__ import annotations

from collections.abc import Iterable

import hazelcast

__all__ = ["missing_parts", "unsupported_version"]


def missing_parts(client: object) -> list[str]:
    """Which of the private parts used here this version of the official client lacks."""
    used = (
        "_reactor.map",
        "_reactor._loop._timers",
        "_reactor._loop._new_timers",
        "_reactor.connection_factory",
        "_connection_manager.active_connections",
        "_connection_manager._get_or_connect_to_member",
        "_connection_manager._start_connect_all_members_timer",
        "_connection_manager._trigger_cluster_reconnection",
        "_internal_cluster_service._initial_list_fetched",
        "_invocation_service._should_retry",
        "_invocation_service.shutdown",
        "_cluster_view_listener._try_register_to_random_connection",
        "_near_cache_manager.clear_near_caches",
        "_proxy_manager.get_or_create",
        "_context.invocation_service",
    )
    return [path for path in used if not _has(client, path.split("."))]


def unsupported_version(missing: Iterable[str]) -> str:
    """The message for an official client that lacks private parts."""
    return (
        f"hazelcast-python-client {hazelcast.__version__} has no {', '.join(missing)}, which this"
        " package uses; install a version that it was tested with (5.5 to 5.7)"
    )


def _has(holder: object, path: list[str]) -> bool:
    for name in path:
        if not hasattr(holder, name):
            return False
        holder = getattr(holder, name)
    return True
