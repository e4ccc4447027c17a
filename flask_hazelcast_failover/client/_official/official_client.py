"""An official client for one connection to one cluster."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any
from uuid import UUID

from hazelcast.client import HazelcastClient as _HazelcastClient
from hazelcast.config import Config, ReconnectMode
from hazelcast.core import MemberInfo
from hazelcast.future import Future
from hazelcast.protocol.codec import client_create_proxy_codec
from hazelcast.proxy import MAP_SERVICE, PN_COUNTER_SERVICE, RELIABLE_TOPIC_SERVICE
from hazelcast.transaction import Transaction

from ..._threads import resting
from .._identity import ClientIdentity, LockRequest, LockRequests
from .._process.lifecycle import close_in_child
from . import structures
from .checks import CheckRequest
from .cluster_view import ClusterView
from .cp_sessions import share_sessions
from .listeners.listening import Receive, listen, measure_reads
from .listeners.near_caches import ConsistentNearCaches
from .listeners.registration import ListenerRegistration
from .listeners.slow_members import SlowMembers, send_to_any
from .oversized import OversizedMessages
from .plain_maps import plain_map
from .resending import (
    FutureGuard,
    GuardedContext,
    count_or_raise,
    may_resend,
    publish_or_raise,
    use_light_futures,
)
from .transport.clock import use_monotonic_clock
from .transport.futures import wait_for_all
from .transport.reactor import ReactorClock, fix_waker_race, sleep_until_event, support_late_gevent_patch
from .transport.reader import DEFAULT_LIMIT, use_checked_reader
from .transport.traffic import allow_slow_uploads
from .versions import check_classes, check_parts

# How long opening waits for connections to further members: twice what the first one took, within these limits, seconds.
_MIN_CONNECT_WAIT, _MAX_CONNECT_WAIT = 0.1, 0.5

_CP_GETTERS = {
    "AtomicLong": "get_atomic_long",
    "AtomicReference": "get_atomic_reference",
    "CountDownLatch": "get_count_down_latch",
    "FencedLock": "get_lock",
    "Semaphore": "get_semaphore",
}


class OfficialClient(_HazelcastClient):
    """An official client for one connection to a cluster, which never reconnects by itself.

    Patches only what a client of several clusters needs to be different; ``_patch`` lists it all.
    """

    former: ClientIdentity | None = None
    """The identity that it takes over; set before the constructor runs."""
    max_message_size = DEFAULT_LIMIT
    """How large a message of a member may be, bytes; likewise."""
    _is_abandoned = False
    _started_at = 0.0  # monotonic seconds

    def __init__(self, config: Config) -> None:
        check_classes()
        support_late_gevent_patch()
        config.async_start = False
        config.reconnect_mode = ReconnectMode.ASYNC
        config.cluster_connect_timeout = 0
        config.redo_operation = False
        super().__init__(config)

    def _start(self) -> None:
        check_parts(self)
        close_in_child(self, OfficialClient.detach)
        self._patch()
        if self._is_abandoned:
            for close in self.detach():
                with contextlib.suppress(OSError):
                    close()
            raise TimeoutError("the attempt ended before the connection was opened")
        self._started_at = time.monotonic()
        super()._start()  # type: ignore[no-untyped-call]
        if not self.connected_members():
            self.shutdown()
            raise ConnectionError("closed by the other side before a member list came")

    def _patch(self) -> None:
        """Patch the parts of this client, before any of them is started."""
        use_monotonic_clock(self)  # first, since later steps wrap methods that it binds
        self._patch_reactor()
        self._patch_connections()
        self._rest_while_waiting()
        self._patch_identity()
        share_sessions(self._proxy_session_manager)
        self._patch_invocations()
        self._patch_listeners()
        self._near_caches = ConsistentNearCaches(self, self._registrations)
        self._cluster_view = ClusterView(self)

    def _patch_reactor(self) -> None:
        fix_waker_race(self._reactor)
        sleep_until_event(self._reactor)
        self._clock = ReactorClock(self._reactor)
        self._oversized = OversizedMessages(self, self.max_message_size)
        use_checked_reader(self._reactor, self.max_message_size, self._oversized.on_message)

    def _patch_connections(self) -> None:
        manager: Any = self._connection_manager
        manager.connect_to_all_cluster_members = self._connect_to_members
        manager._trigger_cluster_reconnection = self._disable_reconnect
        allow_slow_uploads(manager._heartbeat_manager)

    def _rest_while_waiting(self) -> None:
        service: Any = self._internal_cluster_service
        wait = service.wait_initial_member_list_fetched

        def rest_and_wait() -> None:
            with resting():
                wait()

        service.wait_initial_member_list_fetched = rest_and_wait

    def _patch_identity(self) -> None:
        lock_requests = LockRequests()
        if self.former is not None:
            self._connection_manager.client_uuid = self.former.uuid
            lock_requests = self.former.lock_requests
        self._context.lock_reference_id_generator = lock_requests

    def _patch_invocations(self) -> None:
        invocations: Any = self._invocation_service
        use_light_futures(invocations)
        invocations._should_retry = partial(may_resend, invocations._should_retry)

    def _patch_listeners(self) -> None:
        listeners: Any = self._listener_service
        schemas: Any = self._compact_schema_service
        loop: Any = self._reactor._loop
        self._slow_members = SlowMembers(self._reactor.add_timer, lambda: loop._is_live)
        self._registrations = ListenerRegistration(
            listeners, self._invocation_service.invoke, self._slow_members
        )
        listeners.register_listener = self._registrations.register_listener
        listeners.deregister_listener = self._registrations.deregister_listener
        listeners._register_on_connection = self._registrations.register_on_connection
        schemas.send_schema_and_retry = partial(
            self._registrations.send_schema_and_retry, schemas.send_schema_and_retry
        )

    def _disable_reconnect(self) -> None:
        """Replaces ``ConnectionManager._trigger_cluster_reconnection``: the controller opens a new client instead."""
        # Ends the wait of a constructor for a member list, which cannot come any more.
        self._internal_cluster_service._initial_list_fetched.set()

    def _connect_to_members(self, sync_start: bool) -> None:
        """Replaces ``ConnectionManager.connect_to_all_cluster_members``, which waits for one member after the other."""
        manager = self._connection_manager
        if not self.is_smart:
            return
        connecting = [
            manager._get_or_connect_to_member(member) for member in self._cluster_service.get_members()
        ]
        now = time.monotonic()
        wait = min(_MAX_CONNECT_WAIT, max(_MIN_CONNECT_WAIT, 2 * (now - self._started_at)))
        wait_for_all(connecting, now + wait)
        manager._start_connect_all_members_timer()

    @property
    def identity(self) -> ClientIdentity:
        """The identity by which the members know this client."""
        requests: Any = self._context.lock_reference_id_generator
        return ClientIdentity(self._connection_manager.client_uuid, requests)

    def send_lock_request(self, request: LockRequest, send: Callable[[], Any]) -> Any:
        """Run ``send``, which requests a lock; a repeat with the same client id gets the same number."""
        return self.identity.lock_requests.send(request, send)

    @property
    def cluster_id(self) -> UUID | None:
        """The id of the connected cluster."""
        cluster_id: UUID | None = self._connection_manager._cluster_id
        return cluster_id

    def reachable_addresses(self) -> frozenset[str]:
        """The addresses at which this client reaches the members, "host:port"; the public ones if it uses those."""
        translate: Any = self._connection_manager._translate_member_address
        addresses = [translate(member) for member in self.member_list()]
        return frozenset(f"{address.host}:{address.port}" for address in addresses)

    def connected_members(self) -> frozenset[UUID]:
        """The members with an open connection."""
        return frozenset(self._connection_manager.active_connections)

    @property
    def is_smart(self) -> bool:
        """Whether it connects to all members, not to one only."""
        return self._config.smart_routing

    @property
    def is_reopening(self) -> bool:
        """Whether its last connection was closed because of a message that was too large, and is being opened again."""
        return self._oversized.is_reopening

    def member_list(self) -> list[MemberInfo]:
        """The members of the cluster, according to the cluster."""
        return self.cluster_service.get_members()

    def send_check(self, member: UUID, partition: int) -> CheckRequest | None:
        """Send a health check to a member, over another one's connection if need be; ``None`` if none is open.

        :param partition: one that the member owns
        """
        connections = self._connection_manager.active_connections
        connection = connections.get(member) or next(iter(list(connections.values())), None)
        if connection is None:
            return None
        return CheckRequest(self._invocation_service.invoke, connection, partition, self._clock, member)

    def use_other_member_for_view(self, silent: Collection[UUID]) -> None:
        """Take the view of the cluster from another member if it comes from one of these, which do not respond."""
        self._cluster_view.use_other_member(silent)

    def is_reactor_alive(self) -> bool:
        """Whether the reactor's thread runs, without which no answer is read."""
        loop: Any = self._reactor._loop
        return loop._thread is not None and bool(loop._thread.is_alive())

    def create_proxy(self, service: str, name: str) -> Future[Any]:
        """Create a structure and its proxy without blocking; the future's result is the proxy."""
        get = partial(self._proxy_manager.get_or_create, service, name, create_on_remote=False)
        return self._request_creation(service, name, get)

    def create_plain_map(self, name: str) -> Future[Any]:
        """Create a map and a proxy that reads strings and byte arrays only; see ``plain_maps``. Does not block."""
        return self._request_creation(MAP_SERVICE, name, partial(plain_map, self._context, name))

    def _request_creation(self, service: str, name: str, make_proxy: Callable[[], Any]) -> Future[Any]:
        created = send_to_any(
            self._invocation_service.invoke,
            partial(client_create_proxy_codec.encode_request, name, service),
            self._slow_members,
            lambda: list(self._connection_manager.active_connections.values()),
        )

        def made(created: Future[Any]) -> Any:
            created.result()
            return make_proxy()

        return created.continue_with(made)

    def listen(
        self, real: Any, add: str, args: tuple[Any, ...], kwargs: dict[str, Any], receive: Receive
    ) -> Future[Any]:
        """Register a listener of one of this client's proxies, or of this client; see ``listening.listen``."""
        return listen(self._registrations, real, add, args, kwargs, receive)

    def waits_in_constructor(self, service: str, name: str) -> bool:
        """Whether creating a proxy blocks, which a reactor's thread must not."""
        has_near_cache = service == MAP_SERVICE and name in self._config.near_caches
        return has_near_cache or service in (RELIABLE_TOPIC_SERVICE, PN_COUNTER_SERVICE)

    def construct(self, service: str, name: str) -> Any:
        """Create a structure and its proxy. Blocks without a limit."""
        proxy = self._proxy_manager.get_or_create(service, name)
        if service == PN_COUNTER_SERVICE:
            proxy._get_max_configured_replica_count()  # else the first addition would request it
            proxy._check_invocation_result = partial(count_or_raise, proxy)
        if service == RELIABLE_TOPIC_SERVICE:
            measure_reads(proxy._ringbuffer)
            for add in ("_add_with_backoff", "_add_messages_with_backoff"):
                setattr(proxy, add, partial(publish_or_raise, getattr(proxy, add)))
        return proxy

    def construct_cp_proxy(self, structure: str, name: str) -> Any:
        """Create a proxy of the CP subsystem. Blocks without a limit.

        :param structure: the official class
        """
        return getattr(self.cp_subsystem, _CP_GETTERS[structure])(name)

    def create(self, service: str, name: str) -> Future[Any]:
        """Create a structure without a proxy; the future completes when all requests have."""
        return structures.create(self, service, name)

    def destroy(self, proxy: Any) -> bool:
        """Destroy the structure of a proxy on the cluster, and drop the proxy. Blocks."""
        try:
            return structures.destroy(self, proxy)
        finally:
            self.drop_proxy(proxy)

    def drop_proxy(self, proxy: Any) -> None:
        """Drop a proxy and what belongs to it; the structure stays on the members."""
        structures.drop_proxy(self, self._near_caches.release, proxy)

    def drop_listed_proxy(self, service: str, name: str) -> None:
        """Drop the proxy that ``get_distributed_objects`` has created, if there is one."""
        if (proxy := self._proxy_manager._proxies.get((service, name))) is not None:
            self.drop_proxy(proxy)

    def deregister_listener(self, id_: str) -> Future[bool]:
        """Deregister a listener of any structure."""
        return self._registrations.deregister_listener(id_)

    def guard_transaction(self, transaction: Transaction, guard: FutureGuard) -> None:
        """Have each request of a transaction complete a future of ``guard``."""
        transaction._context = GuardedContext(self._context, guard)

    def clear_near_caches(self) -> None:
        """Clear all near caches: they may be stale when the client is used again in a later epoch."""
        self._near_cache_manager.clear_near_caches()

    def abandon(self) -> None:
        """Shut down at once, which fails operations in flight. May block: call it on a thread of its own."""
        self._is_abandoned = True
        needed = ("_internal_cluster_service", "_invocation_service", "_shutdown_lock")
        if not all(hasattr(self, part) for part in needed):
            return  # the constructor has not come so far
        # The constructor waits two minutes for a member list, even after the connection is closed.
        self._internal_cluster_service._initial_list_fetched.set()
        # It would go on registering on connections that are closed.
        self._cluster_view_listener._try_register_to_random_connection = lambda _: None  # type: ignore
        # Before the rest, or closing a CP session would wait for an answer.
        self._invocation_service.shutdown()
        self.shutdown()

    def close_waker(self) -> None:
        """Close the waker, which is all that a client has open if it was rejected before its start."""
        for waker in list(getattr(getattr(self, "_reactor", None), "map", {}).values()):
            waker.close()

    def detach(self) -> list[Callable[[], object]]:
        """Detach sockets and pipes from the loop; returns callables that close them without notifying the members."""
        reactor = getattr(self, "_reactor", None)
        if reactor is None:
            return []
        # A forked child inherits the reactor's greenlet, which must neither read the parent's data nor run timers.
        dispatchers = list(reactor.map.values())
        reactor.map.clear()
        self._internal_lifecycle_service.running = False
        reactor._loop._is_live = False
        reactor._loop._timers.clear()
        reactor._loop._new_timers.clear()
        closers: list[Callable[[], object]] = [dispatcher.socket.close for dispatcher in dispatchers]
        pipes = [waker._write_fd for waker in dispatchers if hasattr(waker, "_write_fd")]
        return closers + [partial(os.close, pipe) for pipe in pipes]
