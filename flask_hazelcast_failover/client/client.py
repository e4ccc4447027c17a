"""HazelcastClient: the official client's API over clusters that come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from hazelcast.config import Config
from hazelcast.core import DistributedObjectEvent
from hazelcast.future import Future
from hazelcast.lifecycle import LifecycleState
from hazelcast.proxy.base import Proxy

from flask_hazelcast_failover.client._api.failover_view import ReadOnlyFailover
from flask_hazelcast_failover.client._api.listener_queue import ListenerQueues
from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._api.proxy_source import ProxySource
from flask_hazelcast_failover.client._api.services import (
    FollowingClusterService,
    FollowingLifecycle,
    FollowingPartitions,
    configured,
)
from flask_hazelcast_failover.client._api.signatures import mirrors
from flask_hazelcast_failover.client._api.sql import FollowingSql
from flask_hazelcast_failover.client._api.transactions import Transactions
from flask_hazelcast_failover.client._connect.link import CLIENT, Link, on_thread
from flask_hazelcast_failover.client._controller.messages import SwitchRequest
from flask_hazelcast_failover.client._controller.requests import Answer
from flask_hazelcast_failover.client._official import ClientFacade, OfficialClient
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits
from flask_hazelcast_failover.client._operations.operations import Counters, Operations
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client._process.environment import check_environment, check_process
from flask_hazelcast_failover.client._process.lifecycle import hook_uwsgi_forks, register, unregister
from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor
from flask_hazelcast_failover.client._runtime.engine import Engine
from flask_hazelcast_failover.client._runtime.event_log import log
from flask_hazelcast_failover.client._runtime.names import client_name, named, worker_id
from flask_hazelcast_failover.client.control import ClientControl, FleetHook
from flask_hazelcast_failover.client.events import Event, Reason
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.status import ClientStatus, State
from flask_hazelcast_failover.errors import ClientOfflineException, ClientShutDown
from flask_hazelcast_failover.failover import FailoverConfig

__all__ = ["HazelcastClient"]

# How long a listener for structures waits for those that were handed out before, seconds.
_STRUCTURES_TIMEOUT = 5.0
# How long shutting down may take, seconds.
_SHUTDOWN = 5.0
# How much of that listeners and receivers that are busy may take, seconds.
_LAST_WORDS = 1.0
# How much of that attempts that just began may take, seconds.
_TIDYING = 0.3
# How much of that taking leave of other processes may take, seconds.
_FAREWELL = 0.3

Receiver = Callable[[Event], object]


class HazelcastClient(ClientFacade):
    """The official client's methods and properties, on whichever cluster can be reached.

    It connects at ``start()`` or at the first operation. What it returns follows it from cluster to cluster.
    Besides the official API it has ``status()``, ``switch_to()``, ``reset()``, ``failover``, ``same_cluster()``
    and ``subscribe()``.

    :param config: a ``FailoverConfig``, or a ``ClientConfig`` for one cluster; it is copied
    :param options: how to fail over, see ``Options``
    :raises TypeError: for a configuration or an option of the wrong type
    :raises ValueError: for a bad value, an unknown option, or no cluster at all
    :raises RuntimeError: where it cannot work: under eventlet, or uWSGI without threads
    """

    def __init__(self, config: FailoverConfig | Config, **options: Any) -> None:
        check_environment()
        given = Options.from_mapping(options)
        self._clusters = FailoverConfig.copied_from(config, given.try_count)
        self._options = named(given.with_try_count(self._clusters.try_count))
        self._worker = worker_id()
        self._threads_are: object = threading.local  # gevent's patches put another one in its place
        self._lock = threading.RLock()  # guards the engine's beginning, exchange and end
        self._ended = threading.Event()  # shutting down is over
        self._receivers: list[Receiver] = []  # only ever grows
        self._hook: FleetHook | None = None  # set once, before the first use
        self._route = Route(self.connect_soon, self._described)
        self._completion_executor = SerialExecutor("hazelcast-failover-runner")
        self._waiting_executor = SerialExecutor("hazelcast-failover-waiter")
        self._listener_executor = SerialExecutor("hazelcast-failover-listeners")
        self._event_executor = SerialExecutor("hazelcast-failover-announcer")
        self._creator_executor = SerialExecutor("hazelcast-failover-creator")
        self._operations = Operations(
            self._route, self._options, self._completion_executor, self._waiting_executor
        )
        inboxes = ListenerQueues(self._options, self._listener_executor, self._operations.count_dropped_event)
        self._listeners = Listeners(self._operations, inboxes)
        self._members = FollowingClusterService(
            self._operations,
            inboxes,
            configured("membership_listeners", self._options, self._clusters),
        )
        self._lifecycle = FollowingLifecycle(
            self._is_running,
            inboxes,
            configured("lifecycle_listeners", self._options, self._clusters),
        )
        self._proxies = ProxySource(
            self._operations, self._listeners, self._creator_executor, lambda: self._engine.open_links()
        )
        self._failover = ReadOnlyFailover(self._clusters, self._current_index, self._described)
        self._engine = self._new_engine()
        super().__init__(
            proxies=self._proxies,
            cp_proxies=self._proxies.cp,
            sql=FollowingSql(self._operations),
            transactions=Transactions(self._operations),
            clusters=self._members,
            partitions=FollowingPartitions(self._operations),
            lifecycle=self._lifecycle,
            name=client_name(self._options, self._clusters),
        )
        register(self)

    def start(self) -> HazelcastClient:
        """Connect, and return this client.

        :raises ClientOfflineException: no cluster can be reached; the client may be started again
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        was_idle = self._route.state is State.IDLE
        self.connect_soon()
        engine = self._engine
        try:
            self._route.active(deadline=float("inf"))
        except ClientOfflineException as failure:
            if was_idle:
                self._stop_trying(engine, str(failure))
            raise
        self._listener_executor.flush(_LAST_WORDS if was_idle else 0)  # listeners know, as officially
        return self

    def shutdown(self) -> None:
        """Shuts down this client for good. Takes some seconds at most, whatever state the clusters are in."""
        self._shut_down(_SHUTDOWN)

    @property
    def control(self) -> ClientControl:
        """What the fleet of this process does with it; apps need none of it."""
        return self

    def connect_soon(self) -> None:
        """Start connecting, if nothing has yet, and do not wait for it."""
        if self._route.state is State.IDLE and self._threads_are is not threading.local:
            self._reset_after_fork()  # greenlets have come meanwhile, which our locks and threads know nothing of
        with self._lock:
            if self._route.state is State.IDLE:
                check_process()
                hook_uwsgi_forks()
                self._engine.begin()

    def status(self) -> ClientStatus:
        """How things stand: a frozen snapshot."""
        return self._engine.latest

    def switch_to(self, label: str) -> None:
        """Move to a cluster on purpose and stay there: no automatic failback until ``reset()``.

        Returns once new operations go there; those in flight finish where they are.

        :param label: the cluster's label
        :raises ValueError: there is no such cluster
        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """
        self._steer(self._index_of(label), holds=True)

    def reset(self) -> None:
        """Go back to the cluster of the highest priority, and allow automatic failback again.

        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """
        self._steer(0, holds=False)

    def switch(self, index: int, reason: Reason, *, holds: bool) -> None:
        """Switch this process's client, whatever the others of its fleet do.

        :param index: the cluster's place in the order of priority
        :param reason: what to give as the reason
        :param holds: whether to stay there, without automatic failback
        """
        answer = Answer()
        with self._lock:
            if self._route.state is State.CLOSED:
                raise ClientShutDown
            self.connect_soon()
            self._engine.post(SwitchRequest(index, reason, holds, answer.give))
        answer.wait()

    @property
    def failover(self) -> ReadOnlyFailover:
        """A live, read-only view of the clusters and of which one is current."""
        return self._failover

    def same_cluster(self) -> AbstractContextManager[None]:
        """A block whose operations run on one cluster only.

        Once the client has moved, an operation of the calling thread raises ``ClusterChanged``.
        """
        return self._operations.section()

    def subscribe(self, receiver: Receiver) -> None:
        """Have ``receiver`` called with each event, in order, on one thread of the client's own.

        One that raises is logged, and one that takes long holds up other receivers only.

        :raises TypeError: ``receiver`` cannot be called
        """
        if not callable(receiver):
            raise TypeError(f"receiver must be callable with an event, not a {type(receiver).__name__}")
        self._receivers.append(receiver)

    def operation_counts(self) -> Counters:
        """How many operations were repeated, ended with an unknown outcome, and wait right now.

        And how many events were dropped, since listeners did not keep up.
        """
        return replace(self._operations.counters)

    def announce(self, event: Event, why: str = "") -> None:
        """Tell subscribers, after everything told before; ``why`` is for the log."""
        log(event, why)
        for receiver in tuple(self._receivers):
            self._event_executor.submit(partial(receiver, event))

    def attach(self, hook: FleetHook) -> None:
        """Have ``hook`` carry out ``switch_to()`` and ``reset()``. To be called before the first use."""
        self._hook = hook

    def connected_clusters(self) -> dict[str, OfficialClient]:
        """The open official clients by label: of the active cluster and of those that stand by."""
        return self._engine.connected_clusters()

    def try_to_connect(self, index: int) -> None:
        """Open a connection to a cluster and close it again; nothing else changes.

        :param index: the cluster's place in the order of priority
        :raises ClientOfflineException: it cannot be reached
        """
        self._engine.try_to_connect(index)

    @mirrors(ClientFacade.add_distributed_object_listener)
    def add_distributed_object_listener(
        self, listener_func: Callable[[DistributedObjectEvent], None]
    ) -> Future[str]:
        def add() -> Future[str]:
            return self._listeners.add(CLIENT, "add_distributed_object_listener", (listener_func,), {})

        creator = self._proxies.creator
        if not creator.is_busy():
            return add()
        # What was handed out before is not to be told as new.
        return on_thread(lambda: creator.wait_for_pending(_STRUCTURES_TIMEOUT)).continue_with(lambda _: add())

    @mirrors(ClientFacade.remove_distributed_object_listener)
    def remove_distributed_object_listener(self, registration_id: str) -> Future[bool]:
        return self._listeners.remove(registration_id)

    @mirrors(ClientFacade.get_distributed_objects)
    def get_distributed_objects(self) -> list[Proxy[Any]]:
        return self._proxies.list_all()

    @mirrors(ClientFacade.create_vector_collection_config)
    def create_vector_collection_config(self, *args: Any, **kwargs: Any) -> None:
        self._ask("create_vector_collection_config", Idempotency.REPEATABLE, *args, **kwargs)

    def __enter__(self) -> HazelcastClient:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        link, state = self._route.link, self._route.state
        where, known = f" to {link.label}" if link is not None else "", ", ".join(self._clusters.labels)
        return f"<HazelcastClient {self._name!r} {state}{where}, clusters: {known}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a HazelcastClient cannot be copied or pickled: make one in each process that needs one"
        )

    def __getattr__(self, name: str) -> Any:
        # What the official client keeps private belongs to the one of the active cluster.
        route = self.__dict__.get("_route")
        if not name.startswith("_") or name.startswith("__") or route is None or route.link is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(route.link.client, name)

    def _ask(self, name: str, kind: Idempotency, *args: Any, **kwargs: Any) -> Any:
        def start(client: Any, _: Link) -> Future[Any]:
            return on_thread(lambda: getattr(client, name)(*args, **kwargs))

        return self._operations.run(self._operations.operation(CLIENT, name, MethodTraits(kind), start))

    def _new_engine(self) -> Engine:
        return Engine(
            self._clusters.clusters,
            self._options,
            self._worker,
            self._route,
            listeners=self._listeners,
            proxies=self._proxies,
            lifecycle=self._lifecycle,
            members=self._members,
            tell=self.announce,
            prefer=self._preferred,
        )

    def _steer(self, index: int, *, holds: bool) -> None:
        if self._hook is None:
            self.switch(index, Reason.MANUAL, holds=holds)
        else:
            self._hook.switch_fleet(index, holds=holds)

    def _preferred(self, link: Link) -> int | None:
        label = self._hook.preferred(link.label, link.client) if self._hook else None
        return self._clusters.labels.index(label) if label in self._clusters.labels else None

    def _index_of(self, label: str) -> int:
        labels = self._clusters.labels
        if not isinstance(label, str):
            raise TypeError(f"label must be a cluster's label (a str), not {type(label).__name__}")
        if label not in labels:
            raise ValueError(f"there is no cluster {label!r}; the labels are {', '.join(labels)}")
        return labels.index(label)

    def _current_index(self) -> int:
        offline = self._route.state is State.OFFLINE
        return self._clusters.cluster_count if offline else self._route.last_index

    def _described(self) -> str:
        return ", ".join(f"{one.label} ({one.last_error or one.state})" for one in self.status().clusters)

    def _is_running(self) -> bool:
        return self._route.state is not State.CLOSED

    @property
    def _executors(self) -> tuple[SerialExecutor, ...]:
        return (
            self._completion_executor,
            self._waiting_executor,
            self._creator_executor,
            self._listener_executor,
            self._event_executor,
        )

    def _stop_trying(self, engine: Engine, why: str) -> None:
        """After a failed start: leave nothing behind but the reasons, and be ready for another."""
        engine.stop(_SHUTDOWN, partial(ClientOfflineException, why))
        engine.join(_SHUTDOWN)
        with self._lock:
            if self._engine is engine:
                self._engine = self._new_engine()
                self._engine.remember(engine.latest)
                self._route.idle(why)
        for executor in self._executors:
            executor.pause(_LAST_WORDS)

    def _shut_down(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._lock:
            is_first = self._route.state is not State.CLOSED
            self._route.close()
        if not is_first:
            if not any(executor.is_current() for executor in self._executors):
                self._ended.wait(timeout)
            return
        try:
            if self._hook is not None:
                self._hook.deregister(min(timeout, _FAREWELL))
            self._lifecycle.fire(LifecycleState.SHUTTING_DOWN)
            self._engine.stop(max(0.0, deadline - time.monotonic()))
            self._engine.join(_TIDYING)
            self._lifecycle.fire(LifecycleState.SHUTDOWN)
            self._end_executors(min(deadline, time.monotonic() + _LAST_WORDS))
        finally:
            unregister(self)
            self._ended.set()

    def _abandon_at_exit(self, deadline: float) -> None:
        """The interpreter ends. Daemon threads may go on with the client until it has.

        :param deadline: when to be through, monotonic seconds
        """
        if self._hook is not None:
            self._hook.deregister(max(0.0, min(_FAREWELL, deadline - time.monotonic())))
        self._engine.let_go()
        self._end_executors(deadline)

    def _end_executors(self, deadline: float) -> None:
        for executor in self._executors:
            executor.stop()
        for executor in self._executors:
            executor.join(max(0.0, deadline - time.monotonic()))

    def _reset_after_fork(self) -> None:
        """In a forked child: connect at the first use, and leave the parent's connections alone."""
        inherited = self._engine
        self._worker = worker_id()
        self._threads_are = threading.local
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._route.reset_after_fork()
        for executor in self._executors:
            executor.reset_after_fork()
        self._operations.reset_after_fork()
        self._listeners.reset_after_fork()
        self._proxies.reset_after_fork()
        self._members.reset_after_fork()
        self._lifecycle.reset_after_fork()
        if self._route.state is State.CLOSED:
            self._ended.set()
        self._engine = self._new_engine()
        inherited.abandon_in_child()
