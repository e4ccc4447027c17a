"""The one module that touches what the official client keeps private.

Everything else uses its public API. Written against and tested with hazelcast-python-client 5.5 to
5.7; ``missing_parts`` tells at the first connection when a version no longer has what is used here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import hazelcast
from hazelcast.client import HazelcastClient as _HazelcastClient
from hazelcast.cluster import ClusterService
from hazelcast.config import Config, ReconnectMode
from hazelcast.connection import _AuthenticationStatus, _Reader
from hazelcast.core import CLIENT_TYPE, SERIALIZATION_VERSION, Address, MemberInfo
from hazelcast.cp import CPSubsystem, _get_object_name_for_proxy, _without_default_group_name
from hazelcast.errors import (
    EXCEPTION_MESSAGE_TYPE,
    AccessControlError,
    AuthenticationError,
    TargetDisconnectedError,
    create_error_from_message,
)
from hazelcast.future import Future
from hazelcast.invocation import Invocation
from hazelcast.lifecycle import LifecycleService
from hazelcast.partition import PartitionService
from hazelcast.protocol.client_message import (
    _OUTBOUND_MESSAGE_MESSAGE_TYPE_OFFSET as _TYPE_OFFSET,
)
from hazelcast.protocol.client_message import ClientMessageBuilder, InboundMessage
from hazelcast.protocol.codec import (
    client_authentication_codec,
    client_authentication_custom_codec,
    client_create_proxy_codec,
    ringbuffer_read_many_codec,
)
from hazelcast.proxy import MAP_SERVICE, PN_COUNTER_SERVICE, RELIABLE_TOPIC_SERVICE
from hazelcast.proxy.map import Map
from hazelcast.serialization import LE_INT
from hazelcast.sql import HazelcastSqlError, SqlService, _SqlErrorCode
from hazelcast.transaction import Transaction

from flask_hazelcast_failover.client.processes import close_in_child

__all__ = [
    "CREDENTIALS_FAILED",
    "NOT_ALLOWED",
    "SERIALIZATION_MISMATCH",
    "Face",
    "OfficialClient",
    "Opening",
    "Reply",
    "decode_authentication",
    "encode_authentication",
    "is_connection_problem",
    "is_reactor_thread",
    "missing_parts",
    "proper_cp_name",
    "put_waker_right",
    "unsupported_version",
    "without_waiting",
]

FutureGuard = Callable[[], Future[Any]]
"""Gives the future that an invocation is to complete."""

# How long members that do not answer hold up the opening of a connection to those that do: twice what
# the first one took, from the one to the other, seconds.
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 0.5
_PROBE = "hz.failover_probe"

_READ_MANY = ringbuffer_read_many_codec._REQUEST_MESSAGE_TYPE

CREDENTIALS_FAILED = _AuthenticationStatus.CREDENTIALS_FAILED
SERIALIZATION_MISMATCH = _AuthenticationStatus.SERIALIZATION_VERSION_MISMATCH
NOT_ALLOWED = _AuthenticationStatus.NOT_ALLOWED_IN_CLUSTER


class OfficialClient(_HazelcastClient):
    """An official client for one connection to a cluster, which never reconnects by itself.

    Nothing of the official behaviour is changed but what a client of several clusters needs: its
    opening can be ended, its waker does not get stuck, and a lost connection stays lost.
    """

    _ended = False
    _began = 0.0  # when it began to connect, monotonic seconds

    def __init__(self, config: Config) -> None:
        _let_each_greenlet_be_a_thread()
        config.async_start = False
        config.reconnect_mode = ReconnectMode.ASYNC
        config.cluster_connect_timeout = 0
        config.redo_operation = False
        super().__init__(config)

    def _start(self) -> None:
        close_in_child(self, OfficialClient.release_files)
        put_waker_right(self._reactor)
        manager: Any = self._connection_manager
        manager.connect_to_all_cluster_members = self._connect_to_members
        manager._trigger_cluster_reconnection = self._stay_lost
        invocations: Any = self._invocation_service
        invocations._should_retry = partial(_may_resend, invocations._should_retry)
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
        """In place of reconnecting: the keeper opens a new client when it wants the cluster back."""
        # A constructor that still waits for a member list waits in vain.
        self._internal_cluster_service._initial_list_fetched.set()

    def _connect_to_members(self, sync_start: bool) -> None:
        """Connect to all members at once, so that a dead one among them costs next to nothing."""
        manager = self._connection_manager
        if not self._config.smart_routing:
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

    def connected_members(self) -> frozenset[UUID]:
        """The members that a connection is open to."""
        return frozenset(self._connection_manager.active_connections)

    def member_list(self) -> list[MemberInfo]:
        """The members that the cluster says it has."""
        return self.cluster_service.get_members()

    def create_proxy(self, service: str, name: str) -> Future[Any]:
        """Get a proxy without blocking; the future's result is the real proxy."""
        invocation = Invocation(client_create_proxy_codec.encode_request(name, service))
        self._invocation_service.invoke(invocation)

        def made(created: Future[Any]) -> Any:
            created.result()
            return self._proxy_manager.get_or_create(service, name, create_on_remote=False)

        return invocation.future.continue_with(made)

    def waits_in_constructor(self, service: str, name: str) -> bool:
        """Whether making a proxy waits for answers, which a thread of the official client may not."""
        has_near_cache = service == MAP_SERVICE and name in self._config.near_caches
        return has_near_cache or service in (RELIABLE_TOPIC_SERVICE, PN_COUNTER_SERVICE)

    def construct(self, service: str, name: str) -> Any:
        """Get a proxy, and wait as long as it takes."""
        proxy = self._proxy_manager.get_or_create(service, name)
        if service == PN_COUNTER_SERVICE:
            proxy._get_max_configured_replica_count()  # asked for once, by whoever adds first
            proxy._check_invocation_result = partial(_count_once, proxy)
        if service == RELIABLE_TOPIC_SERVICE:
            for add in ("_add_with_backoff", "_add_messages_with_backoff"):
                setattr(proxy, add, partial(_publish, getattr(proxy, add)))
        return proxy

    def unlisted_map(self, name: str) -> Map[Any, Any]:
        """A map that is read without being created, so that no member lists it."""
        return Map(MAP_SERVICE, name, self._context)

    def bind_transaction(self, transaction: Transaction, guard: FutureGuard) -> None:
        """Have each request of a transaction wait for a future of ``guard``."""
        transaction._context = _GuardedContext(self._context, guard)

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


class Face(_HazelcastClient):
    """The official client's public methods over services of our own, with no connection behind them.

    The official methods only hand requests on to these services, so that signatures, types and doc
    strings are the official ones, also of methods that a later version brings.
    """

    def __init__(
        self,
        *,
        proxies: Any,
        cp_proxies: Any,
        sql: SqlService,
        transactions: Any,
        clusters: ClusterService,
        partitions: PartitionService,
        lifecycle: LifecycleService,
        name: str,
    ) -> None:
        self._proxy_manager = proxies
        self._cp_subsystem = CPSubsystem.__new__(CPSubsystem)
        self._cp_subsystem._proxy_manager = cp_proxies
        self._sql_service = sql
        self._transaction_manager = transactions
        self._cluster_service = clusters
        self._partition_service = partitions
        self._lifecycle_service = lifecycle
        self._name = name


class Opening:
    """The opening of one official client on a thread of its own, which can be ended.

    :param config: for the client
    :param done: called with this opening on its thread once the client is open or ``error`` says why not
    """

    def __init__(self, config: Config, done: Callable[[Opening], None]) -> None:
        # Made before its constructor runs, so that there is something to end.
        self.client: OfficialClient = OfficialClient.__new__(OfficialClient)
        self.error: str | None = None
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
        self._done(self)

    def _end(self) -> None:
        self.client.abandon()
        self._thread.join()
        self.client.abandon()  # what was about to begin when it was first told to end


class _GuardedContext:
    """The official context with an invocation service whose futures come from elsewhere."""

    def __init__(self, context: Any, guard: FutureGuard) -> None:
        self.__dict__.update(context.__dict__)
        self.invocation_service = _GuardedInvocations(context.invocation_service, guard)


class _GuardedInvocations:
    def __init__(self, service: Any, guard: FutureGuard) -> None:
        self._service = service
        self._guard = guard

    def invoke(self, invocation: Invocation) -> None:
        invocation.future = self._guard()
        self._service.invoke(invocation)


def _may_resend(official: Callable[[Any, Exception], bool], invocation: Any, error: Exception) -> bool:
    """What was sent over a connection that is gone may have run: who asked decides what to do."""
    if isinstance(error, TargetDisconnectedError):
        # Reliable topics read in this way, and would give up.
        return bool(LE_INT.unpack_from(invocation.request.buf, _TYPE_OFFSET)[0] == _READ_MANY)
    return official(invocation, error)


def _publish(add: Callable[[Any], Future[Any]], messages: Any) -> Future[None]:
    """The official reliable topic returns the error of a message that it could not publish."""

    def published(future: Future[Any]) -> None:
        error = future.result()
        if isinstance(error, Exception):
            raise error

    return add(messages).continue_with(published)


def _count_once(proxy: Any, future: Future[Any], delegated_future: Future[Any], **rest: Any) -> None:
    """The official counter adds on another member what may have been added on one that is gone."""
    error = None if future.is_success() else future.exception()
    if isinstance(error, TargetDisconnectedError):
        proxy._current_target_replica_address = None
        delegated_future.set_exception(error)
    else:
        type(proxy)._check_invocation_result(proxy, future, delegated_future, **rest)


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Treat the calling thread as one of the official client's, where waiting for a future raises."""
    flags: Any = Future._threading_locals
    if is_reactor_thread():
        yield
        return
    flags.is_reactor_thread = True
    try:
        yield
    finally:
        del flags.is_reactor_thread


def proper_cp_name(name: str) -> str:
    """The name that a CP object goes by. Raises what the official client raises for a bad one."""
    proper: str = _without_default_group_name(name)
    _get_object_name_for_proxy(proper)
    return proper


def is_connection_problem(error: Exception) -> bool:
    """Whether an error of an SQL query says that its connection is gone."""
    return isinstance(error, HazelcastSqlError) and error._code == _SqlErrorCode.CONNECTION_PROBLEM


class Reply(NamedTuple):
    """What a member answered to an authentication: a status, or the name of the error it met."""

    status: int
    error: str | None = None

    @property
    def is_welcome(self) -> bool:
        """Whether the member takes us."""
        return self.error is None and self.status == _AuthenticationStatus.AUTHENTICATED


def encode_authentication(config: Config, host: str, port: int) -> bytes:
    """What a connection to a member has to send first."""
    # An id of its own: a member closes an older client with the same one.
    common: tuple[Any, ...] = (
        uuid4(),
        CLIENT_TYPE,
        SERIALIZATION_VERSION,
        hazelcast.__version__,
        _PROBE,
        frozenset(),
    )
    if config.token_provider:
        token = config.token_provider.token(Address(host, port))
        request = client_authentication_custom_codec.encode_request(config.cluster_name, token, *common)
    else:
        request = client_authentication_codec.encode_request(
            config.cluster_name, config.creds_username, config.creds_password, *common
        )
    request.set_correlation_id(1)
    request.set_partition_id(-1)
    return b"CP2" + bytes(request.buf)


def decode_authentication(answer: bytes) -> Reply | None:
    """What a member answered, ``None`` while the answer is not whole.

    Raises whatever decoding raises when the answer is not a member's.
    """
    messages: list[InboundMessage] = []
    reader = _Reader(ClientMessageBuilder(messages.append))
    reader.read(answer)
    reader.process()
    if not messages:
        return None
    kind = messages[0].get_message_type()
    if kind == EXCEPTION_MESSAGE_TYPE:
        error = create_error_from_message(messages[0])
        if isinstance(error, (AuthenticationError, AccessControlError)):
            return Reply(CREDENTIALS_FAILED)
        return Reply(-1, type(error).__name__)
    for codec in (client_authentication_codec, client_authentication_custom_codec):
        if kind == codec._RESPONSE_MESSAGE_TYPE:
            return Reply(int(codec.decode_response(messages[0])["status"]))
    raise ValueError(f"message type {kind:#x} in answer to an authentication")


def put_waker_right(reactor: Any) -> None:
    """Keep the reactor's waker from getting stuck.

    The official one marks itself asleep before it empties its pipe; a wake-up in between is emptied
    with the rest, and every later call waits for the reactor's 10 ms tick. Emptying first is safe:
    the reactor asks every connection for something to write once the pipe was read.
    """
    waker = getattr(reactor._loop, "waker", None)
    if waker is None or not hasattr(waker, "_read_fd"):
        return  # the loop without wake-ups, or the one of Windows
    read_fd = waker._read_fd

    def handle_read() -> None:
        try:
            while len(os.read(read_fd, 4096)) == 4096:
                pass
        except OSError:
            pass
        waker.awake = False

    waker.handle_read = handle_read


def _let_each_greenlet_be_a_thread() -> None:
    """Greenlets may come after the import, as in gunicorn's workers: then not all of them are the reactor."""
    if type(Future._threading_locals) is not threading.local:
        Future._threading_locals = threading.local()


def is_reactor_thread() -> bool:
    """Whether the calling thread is one of the official client's, which must never wait."""
    return hasattr(Future._threading_locals, "is_reactor_thread")


def missing_parts(client: OfficialClient) -> list[str]:
    """Which of the private parts used here this version of the official client lacks."""
    used = (
        "_reactor.map",
        "_reactor._loop",
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


def _said(error: Exception) -> str:
    """What an error says; some of the official client's cannot be turned into text."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def _close_quietly(close: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        close()
