"""An official client for one connection to one cluster, and its opening, which can be ended."""

from __future__ import annotations

import contextlib
import os
import threading
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

from flask_hazelcast_failover.client._identity import ClientIdentity, LockRequest, LockRequests
from flask_hazelcast_failover.client._official import structures
from flask_hazelcast_failover.client._official.checks import CheckRequest
from flask_hazelcast_failover.client._official.cluster_view import ClusterView
from flask_hazelcast_failover.client._official.cp_sessions import share_sessions
from flask_hazelcast_failover.client._official.listeners.listening import Receive, listen, measure_reads
from flask_hazelcast_failover.client._official.listeners.near_caches import ConsistentNearCaches
from flask_hazelcast_failover.client._official.listeners.registration import ListenerRegistration
from flask_hazelcast_failover.client._official.listeners.slow_members import SlowMembers, ask_any
from flask_hazelcast_failover.client._official.resending import (
    FutureGuard,
    GuardedContext,
    count_or_raise,
    may_resend,
    publish_or_raise,
)
from flask_hazelcast_failover.client._official.transport.clock import use_monotonic_clock
from flask_hazelcast_failover.client._official.transport.reactor import (
    ReactorClock,
    fix_waker_race,
    sleep_until_event,
    support_late_gevent_patch,
    use_checked_reader,
)
from flask_hazelcast_failover.client._official.transport.traffic import excuse_uploads
from flask_hazelcast_failover.client._official.versions import UnsupportedVersion, check_classes, check_parts
from flask_hazelcast_failover.client._process.lifecycle import close_in_child

__all__ = ["OfficialClient", "Opening"]

# How long members that do not answer hold up the opening of a connection to those that do: twice what
# the first one took, from the one to the other, seconds.
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 0.5


class OfficialClient(_HazelcastClient):
    """An official client for one connection to a cluster, which never reconnects by itself.

    Nothing of the official behaviour is changed but what a client of several clusters needs: its
    opening can be ended, its waker does not get stuck, and a lost connection stays lost.
    """

    _ended = False
    _began = 0.0  # when it began to connect, monotonic seconds
    _former: ClientIdentity | None = None  # whose place it takes; set before the constructor runs

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
        close_in_child(self, OfficialClient.release_files)
        use_monotonic_clock(self)
        excuse_uploads(self._connection_manager._heartbeat_manager)
        share_sessions(self._proxy_session_manager)
        fix_waker_race(self._reactor)
        sleep_until_event(self._reactor)
        self._clock = ReactorClock(self._reactor)
        use_checked_reader(self._reactor)
        manager: Any = self._connection_manager
        manager.connect_to_all_cluster_members = self._connect_to_members
        manager._trigger_cluster_reconnection = self._stay_lost
        invocations: Any = self._invocation_service
        invocations._should_retry = partial(may_resend, invocations._should_retry)
        loop: Any = self._reactor._loop
        self._patience = SlowMembers(self._reactor.add_timer, lambda: loop._is_live)
        listeners: Any = self._listener_service
        self._registering = registering = ListenerRegistration(listeners, invocations.invoke, self._patience)
        listeners.register_listener = registering.official_register
        schemas: Any = self._compact_schema_service
        schemas.send_schema_and_retry = partial(
            registering.official_send_schema, schemas.send_schema_and_retry
        )
        listeners._register_on_connection = registering.register_on
        listeners.deregister_listener = registering.deregister
        self._true_near_caches = ConsistentNearCaches(self, registering)
        self._view = ClusterView(self)
        if self._former is not None:
            manager.client_uuid = self._former.uuid
        self._context.lock_reference_id_generator = (
            self._former.lock_requests if self._former is not None else LockRequests()
        )
        if self._ended:
            for close in self.release_files():
                _close_quietly(close)
            raise TimeoutError("the attempt ended before the connection was opened")
        self._began = time.monotonic()
        super()._start()  # type: ignore[no-untyped-call]
        if not self.connected_members():
            self.shutdown()
            raise ConnectionError("closed by the other side before a member list came")

    def _stay_lost(self) -> None:
        """In place of reconnecting: the controller opens a new client when it wants the cluster back."""
        # A constructor that still waits for a member list waits in vain.
        self._internal_cluster_service._initial_list_fetched.set()

    def _connect_to_members(self, sync_start: bool) -> None:
        """Connect to all members at once, so that a dead one among them costs next to nothing."""
        manager = self._connection_manager
        if not self.is_smart:
            return
        done = threading.Semaphore(0)
        members = self._cluster_service.get_members()
        for member in members:
            manager._get_or_connect_to_member(member).add_done_callback(lambda _: done.release())
        now = time.monotonic()
        deadline = now + min(_LONGEST_WAIT, max(_SHORTEST_WAIT, 2 * (now - self._began)))
        for _ in members:
            if not done.acquire(timeout=max(0.0, deadline - time.monotonic())):
                break
        manager._start_connect_all_members_timer()

    @property
    def identity(self) -> ClientIdentity:
        """By what the members know this client."""
        requests: Any = self._context.lock_reference_id_generator
        return ClientIdentity(self._connection_manager.client_uuid, requests)

    def send_for_lock(self, request: LockRequest, send: Callable[[], Any]) -> Any:
        """Have ``send`` make a request for a lock, under the number that it was sent with before by this client's id."""
        with self.identity.lock_requests.sending(request):
            return send()

    @property
    def cluster_id(self) -> UUID | None:
        """The id of the cluster that it is connected to."""
        found: UUID | None = self._connection_manager._cluster_id
        return found

    def member_places(self) -> frozenset[str]:
        """Where a client can reach the members, "host:port": at their public addresses if it uses these."""
        translate: Any = self._connection_manager._translate_member_address
        places = [translate(member) for member in self.member_list()]
        return frozenset(f"{place.host}:{place.port}" for place in places)

    def connected_members(self) -> frozenset[UUID]:
        """The members that a connection is open to."""
        return frozenset(self._connection_manager.active_connections)

    @property
    def is_smart(self) -> bool:
        """Whether it connects to every member, not to one only."""
        return self._config.smart_routing

    def member_list(self) -> list[MemberInfo]:
        """The members that the cluster says it has."""
        return self.cluster_service.get_members()

    def send_check(self, member: UUID, partition: int) -> CheckRequest | None:
        """Send a health check to a member, over whatever connection leads there; ``None`` if none is open.

        :param partition: one that the member owns
        """
        connections = self._connection_manager.active_connections
        connection = connections.get(member) or next(iter(list(connections.values())), None)
        if connection is None:
            return None
        return CheckRequest(self._invocation_service.invoke, connection, partition, self._clock, member)

    def hear_from_others(self, than: Collection[UUID]) -> None:
        """Have another member tell of the cluster if one of these, which do not answer, does."""
        self._view.hear_from_others(than)

    def is_reading(self) -> bool:
        """Whether the reactor runs, so that answers can come at all."""
        loop: Any = self._reactor._loop
        return loop._thread is not None and bool(loop._thread.is_alive())

    def create_proxy(self, service: str, name: str) -> Future[Any]:
        """Get a proxy without blocking; the future's result is the real proxy."""
        created = ask_any(
            self._invocation_service.invoke,
            partial(client_create_proxy_codec.encode_request, name, service),
            self._patience,
            lambda: list(self._connection_manager.active_connections.values()),
        )

        def made(created: Future[Any]) -> Any:
            created.result()
            return self._proxy_manager.get_or_create(service, name, create_on_remote=False)

        return created.continue_with(made)

    def listen(
        self, real: Any, add: str, args: tuple[Any, ...], kwargs: dict[str, Any], receive: Receive
    ) -> Future[Any]:
        """Register a listener of one of this client's proxies, or of this client; see ``listening``."""
        return listen(self._registering, real, add, args, kwargs, receive)

    def waits_in_constructor(self, service: str, name: str) -> bool:
        """Whether making a proxy waits for answers, which a thread of the official client may not."""
        has_near_cache = service == MAP_SERVICE and name in self._config.near_caches
        return has_near_cache or service in (RELIABLE_TOPIC_SERVICE, PN_COUNTER_SERVICE)

    def construct(self, service: str, name: str) -> Any:
        """Get a proxy, and wait as long as it takes."""
        proxy = self._proxy_manager.get_or_create(service, name)
        if service == PN_COUNTER_SERVICE:
            proxy._get_max_configured_replica_count()  # asked for once, by whoever adds first
            proxy._check_invocation_result = partial(count_or_raise, proxy)
        if service == RELIABLE_TOPIC_SERVICE:
            measure_reads(proxy._ringbuffer)
            for add in ("_add_with_backoff", "_add_messages_with_backoff"):
                setattr(proxy, add, partial(publish_or_raise, getattr(proxy, add)))
        return proxy

    def create(self, service: str, name: str) -> Future[Any]:
        """Have members make a structure without a proxy of it; the future ends when nothing is under way."""
        return structures.create(self, service, name)

    def destroy(self, proxy: Any) -> bool:
        """Destroy the structure of a proxy on the cluster, and forget what goes with the proxy. Blocks."""
        try:
            return structures.destroy(self, proxy)
        finally:
            self.forget(proxy)

    def forget(self, proxy: Any) -> None:
        """Drop a proxy and what goes with it, on this side only."""
        structures.forget(self, self._true_near_caches.let_go, proxy)

    def forget_listed(self, service: str, name: str) -> None:
        """Drop the proxy that listing structures has made."""
        if (proxy := self._proxy_manager._proxies.get((service, name))) is not None:
            self.forget(proxy)

    def take_off_listener(self, id_: str) -> Future[bool]:
        """Take off a listener, whatever structure it belongs to."""
        taken_off: Future[bool] = self._listener_service.deregister_listener(id_)
        return taken_off

    def bind_transaction(self, transaction: Transaction, guard: FutureGuard) -> None:
        """Have each request of a transaction wait for a future of ``guard``."""
        transaction._context = GuardedContext(self._context, guard)

    def forget_near_caches(self) -> None:
        """Drop what near caches hold: the client will have missed an epoch when it is used again."""
        self._near_cache_manager.clear_near_caches()

    def abandon(self) -> None:
        """Shut down at once; what is in flight fails. May block: call it on a thread of its own."""
        self._ended = True
        for part in (
            "_internal_cluster_service",
            "_invocation_service",
            "_shutdown_lock",
        ):
            if not hasattr(self, part):
                return
        # The constructor waits two minutes for a member list, whatever happens to the connection.
        self._internal_cluster_service._initial_list_fetched.set()
        # It would go on registering itself on connections that nothing can be sent over any more.
        self._cluster_view_listener._try_register_to_random_connection = lambda _: None  # type: ignore
        # First of all, or closing a CP session would wait for an answer.
        self._invocation_service.shutdown()
        self.shutdown()

    def drop_waker(self) -> None:
        """Close what was made before anything was begun."""
        for waker in list(getattr(getattr(self, "_reactor", None), "map", {}).values()):
            waker.close()

    def release_files(self) -> list[Callable[[], object]]:
        """Let go of sockets and pipes without a word to the member, and give what closes them."""
        reactor = getattr(self, "_reactor", None)
        if reactor is None:
            return []
        # The reactor's greenlet lives on in a child: it must neither read what is the parent's, nor run
        # its timers again and again.
        dispatchers = list(reactor.map.values())
        reactor.map.clear()
        self._internal_lifecycle_service.running = False
        reactor._loop._is_live = False
        reactor._loop._timers.clear()
        reactor._loop._new_timers.clear()
        closers: list[Callable[[], object]] = [dispatcher.socket.close for dispatcher in dispatchers]
        pipes = [waker._write_fd for waker in dispatchers if hasattr(waker, "_write_fd")]
        return closers + [partial(os.close, pipe) for pipe in pipes]


class Opening:
    """The opening of one official client on a thread of its own, which can be ended.

    :param config: for the client
    :param former: by what the members know it already, if they do
    :param done: called with this opening on its thread once the client is open or ``error`` says why not
    """

    def __init__(
        self, config: Config, former: ClientIdentity | None, done: Callable[[Opening], None]
    ) -> None:
        # Made before its constructor runs, so that there is something to end.
        self.client: OfficialClient = OfficialClient.__new__(OfficialClient)
        self.client._former = former
        self.error: str | None = None
        self.is_unsupported = False
        self._config = config
        self._done = done
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-open", daemon=True)
        self._thread.start()

    def end(self) -> threading.Thread:
        """Close the client, open or not, on a thread of its own, and return that."""
        thread = threading.Thread(target=self._end, name="hazelcast-failover-close", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self.client.__init__(self._config)  # type: ignore[misc]
        except Exception as error:
            self.error = _said(error)
            self.is_unsupported = isinstance(error, UnsupportedVersion)
        self._done(self)

    def _end(self) -> None:
        if self.is_unsupported:
            self.client.drop_waker()
            return
        self.client.abandon()
        self._thread.join()
        self.client.abandon()  # what was about to begin when it was first told to end


def _said(error: Exception) -> str:
    """What an error says; some of the official client's cannot be turned into text."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def _close_quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        close()
