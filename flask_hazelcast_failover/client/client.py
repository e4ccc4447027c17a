"""HazelcastClient: the official client's API over clusters that come and go."""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hazelcast.config import Config
from hazelcast.core import DistributedObjectEvent
from hazelcast.errors import HazelcastClientNotActiveError
from hazelcast.future import Future
from hazelcast.lifecycle import LifecycleState
from hazelcast.proxy.base import Proxy

from flask_hazelcast_failover.client.companion import Companion
from flask_hazelcast_failover.client.engine import Engine
from flask_hazelcast_failover.client.environment import check_environment
from flask_hazelcast_failover.client.events import Event, Reason
from flask_hazelcast_failover.client.happenings import Wish
from flask_hazelcast_failover.client.link import CLIENT, Link, on_thread
from flask_hazelcast_failover.client.listeners import Listeners
from flask_hazelcast_failover.client.methods import Kind, Method
from flask_hazelcast_failover.client.official import Face, OfficialClient
from flask_hazelcast_failover.client.operations import Counters, Operations
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.proxies import ProxySource
from flask_hazelcast_failover.client.route import Route, State
from flask_hazelcast_failover.client.runner import Runner
from flask_hazelcast_failover.client.services import (
    FollowingClusterService,
    FollowingLifecycle,
    FollowingPartitions,
)
from flask_hazelcast_failover.client.sql import FollowingSql
from flask_hazelcast_failover.client.status import ClientStatus
from flask_hazelcast_failover.client.story import log
from flask_hazelcast_failover.client.transactions import Transactions
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import FailoverConfig
from flask_hazelcast_failover.failover.view import ReadOnlyFailover

__all__ = ["HazelcastClient"]

# How long shutting down may take, seconds; at the exit of the interpreter less.
_SHUTDOWN, _EXIT = 5.0, 1.0
# How much of that taking leave of other processes may take, seconds.
_FAREWELL = 0.3

Receiver = Callable[[Event], object]


class HazelcastClient(Face):
    """The official client's methods and properties, on whichever cluster can be reached.

    It connects at ``start()`` or at the first operation. What it returns follows it from cluster to
    cluster. Besides the official API it has ``status()``, ``switch_to()``, ``reset()``,
    ``failover``, ``same_cluster()`` and ``subscribe()``.

    :param config: a ``FailoverConfig``, or a ``ClientConfig`` for one cluster; it is copied
    :param options: how to fail over, see ``Options``
    :raises TypeError: for a configuration or an option of the wrong type
    :raises ValueError: for a bad value, an unknown option, or no cluster at all
    """

    def __init__(self, config: FailoverConfig | Config, **options: Any) -> None:
        given = Options.from_mapping(options)
        self._clusters = _taken_over(config)
        self._options = given.with_try_count(self._clusters.try_count)
        self._lock = threading.Lock()  # guards the engine's exchange
        self._receivers: list[Receiver] = []  # only ever grows
        self._companion: Companion | None = None  # set once, before the first use
        self._route = Route(self.connect_soon)
        self._worker_runner = Runner("hazelcast-failover-runner")
        self._listener_runner = Runner("hazelcast-failover-listeners")
        self._announcer = Runner("hazelcast-failover-announcer")
        self._operations = Operations(self._route, self._options, self._worker_runner)
        self._listeners = Listeners(self._operations, self._listener_runner)
        self._members = FollowingClusterService(self._operations, self._listeners)
        self._lifecycle = FollowingLifecycle(self._is_running, self._listener_runner)
        self._proxies = ProxySource(self._operations, self._listeners)
        self._failover = ReadOnlyFailover(self._clusters, self._current_index)
        self._engine = self._new_engine()
        super().__init__(
            proxies=self._proxies,
            cp_proxies=self._proxies.cp,
            sql=FollowingSql(self._operations),
            transactions=Transactions(self._operations),
            clusters=self._members,
            partitions=FollowingPartitions(self._operations),
            lifecycle=self._lifecycle,
            name=_own_name(self._options, self._clusters),
        )
        _living.add(self)

    def start(self) -> HazelcastClient:
        """Connect, and return this client.

        :raises ClientOfflineException: no cluster can be reached; the client may be started again
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        fresh = self._route.state is State.IDLE
        self.connect_soon()
        try:
            self._route.active(deadline=float("inf"))
        except ClientOfflineException:
            if fresh:
                self._stop_trying()
            raise
        return self

    def shutdown(self) -> None:
        """Shuts down this client for good. Takes some seconds at most, whatever state the clusters are in."""
        self._shut_down(_SHUTDOWN)

    def connect_soon(self) -> None:
        """Start connecting, if nothing has yet, and do not wait for it."""
        if self._route.state is State.IDLE:
            check_environment()
            with self._lock:
                engine = self._engine
            engine.begin()

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

    def move(self, index: int, reason: Reason, *, holds: bool) -> None:
        """Move this process's client, whatever the others of its fleet do.

        :param index: the cluster's place in the order of priority
        :param reason: what to give as the reason
        :param holds: whether to stay there, without automatic failback
        """
        done: Future[None] = Future()

        def end(error: Exception | None) -> None:
            done.set_result(None) if error is None else done.set_exception(error)

        if self._route.state is State.CLOSED:
            raise HazelcastClientNotActiveError("the client was shut down")
        self.connect_soon()
        self._engine.post(Wish(index, reason, holds, end))
        done.result()

    @property
    def failover(self) -> ReadOnlyFailover:
        """A live, read-only view of the clusters and of which one is current."""
        return self._failover

    @contextmanager
    def same_cluster(self) -> Iterator[None]:
        """A block whose operations run on one cluster only.

        Once the client has moved, an operation of the calling thread raises ``ClusterChanged``.
        """
        sections, thread = self._operations.sections, threading.get_ident()
        outer = sections.get(thread)
        link = self._route.active(time.monotonic() + self._options.wait_timeout)
        sections[thread] = outer if outer is not None else link.epoch
        try:
            yield
        finally:
            if outer is None:
                del sections[thread]

    def subscribe(self, receiver: Receiver) -> None:
        """Have ``receiver`` called with each event, in order, on one thread of the client's own."""
        self._receivers.append(receiver)

    def operation_counts(self) -> Counters:
        """How many operations were repeated, ended with an unknown outcome, and wait right now."""
        return replace(self._operations.counters)

    def announce(self, event: Event) -> None:
        """Tell subscribers, after everything told before."""
        log(event)
        if self._receivers:
            self._announcer.submit(lambda: self._deliver(event))

    def accompany(self, companion: Companion) -> None:
        """Have ``companion`` carry out ``switch_to()`` and ``reset()``. To be called before the first use."""
        self._companion = companion

    def connected_clusters(self) -> dict[str, OfficialClient]:
        """The open official clients by label: of the active cluster and of those that stand by."""
        return self._engine.connected_clusters()

    def add_distributed_object_listener(
        self, listener_func: Callable[[DistributedObjectEvent], None]
    ) -> Future[str]:
        """Adds a listener which will be notified when a new distributed object is created or destroyed."""
        return self._listeners.add(CLIENT, "add_distributed_object_listener", (listener_func,), {})

    def remove_distributed_object_listener(self, registration_id: str) -> Future[bool]:
        """Removes the specified distributed object listener."""
        return self._listeners.remove(registration_id)

    def get_distributed_objects(self) -> list[Proxy[Any]]:
        """Returns all distributed objects such as; queue, map, set, list, topic, lock, multimap."""
        found = self._ask("get_distributed_objects", Kind.READ)
        return [self._proxies.get_or_create(real.service_name, real.name) for real in found]

    def create_vector_collection_config(self, *args: Any, **kwargs: Any) -> None:
        """Creates a vector collection with the given configuration, on the active cluster."""
        self._ask("create_vector_collection_config", Kind.REPEATABLE, *args, **kwargs)

    def __enter__(self) -> HazelcastClient:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        status = self.status()
        return f"<HazelcastClient {status.state} on {status.current_cluster} of {self._clusters.labels}>"

    def _ask(self, name: str, kind: Kind, *args: Any, **kwargs: Any) -> Any:
        def start(client: Any, _: Link) -> Future[Any]:
            return on_thread(lambda: getattr(client, name)(*args, **kwargs))

        return self._operations.run(self._operations.operation(CLIENT, name, Method(kind), start))

    def _new_engine(self) -> Engine:
        return Engine(
            self._clusters.clusters,
            self._options,
            _worker_id(),
            self._route,
            listeners=self._listeners,
            lifecycle=self._lifecycle,
            members=self._members,
            tell=self.announce,
            prefer=self._preferred,
        )

    def _steer(self, index: int, *, holds: bool) -> None:
        if self._companion is None:
            self.move(index, Reason.MANUAL, holds=holds)
        else:
            self._companion.steer(index, holds=holds)

    def _preferred(self, link: Link) -> int | None:
        label = self._companion.preferred(link.label, link.client) if self._companion else None
        return self._clusters.labels.index(label) if label in self._clusters.labels else None

    def _deliver(self, event: Event) -> None:
        for receiver in tuple(self._receivers):
            receiver(event)

    def _index_of(self, label: str) -> int:
        labels = self._clusters.labels
        if not isinstance(label, str):
            raise TypeError(f"label must be a cluster's label (a str), not {type(label).__name__}")
        if label not in labels:
            raise ValueError(f"there is no cluster {label!r}; the labels are {', '.join(labels)}")
        return labels.index(label)

    def _current_index(self) -> int:
        index = self.status().current_index
        if index is not None:
            return index
        return self._clusters.cluster_count if self._route.state is State.OFFLINE else 0

    def _is_running(self) -> bool:
        return self._route.state is not State.CLOSED

    def _stop_trying(self) -> None:
        """After a failed start: leave nothing behind, and be ready for another."""
        with self._lock:
            engine, self._engine = self._engine, self._new_engine()
            self._route.idle()
        engine.stop(_SHUTDOWN)
        for runner in (self._worker_runner, self._listener_runner, self._announcer):
            runner.rest(_EXIT)

    def _shut_down(self, timeout: float) -> None:
        with self._lock:
            if self._route.state is State.CLOSED:
                return
            self._route.close()
        if self._companion is not None:
            self._companion.leave(min(timeout, _FAREWELL))
        self._lifecycle.fire(LifecycleState.SHUTTING_DOWN)
        self._engine.stop(timeout)
        self._lifecycle.fire(LifecycleState.SHUTDOWN)
        for runner in (self._worker_runner, self._listener_runner, self._announcer):
            runner.stop()
        for runner in (self._worker_runner, self._listener_runner, self._announcer):
            runner.join(_EXIT)
        _living.discard(self)

    def _after_fork(self) -> None:
        """In a forked child: begin anew at the first use, and leave the parent's connections alone."""
        inherited, closed = self._engine, self._route.state is State.CLOSED
        self._lock = threading.Lock()
        self._route.__init__(self.connect_soon)  # type: ignore[misc]
        for runner in (self._worker_runner, self._listener_runner, self._announcer):
            runner.renew()
        self._operations.renew()
        self._listeners.renew()
        self._members.renew()
        self._lifecycle.renew()
        self._engine = self._new_engine()
        inherited.abandon_in_child()
        if closed:
            self._route.close()


def _taken_over(config: object) -> FailoverConfig:
    if isinstance(config, FailoverConfig):
        if not config.cluster_count:
            raise ValueError("config has no cluster: add one with add_cluster() or add_cname_cluster()")
        clusters = config.copy()
        clusters.reset()
        return clusters
    if isinstance(config, Config):
        return FailoverConfig.from_client_config(config)
    raise TypeError(f"config must be a FailoverConfig or a ClientConfig, not {type(config).__name__}")


def _own_name(options: Options, clusters: FailoverConfig) -> str:
    given = clusters.clusters[0].client_options.get("client_name") or options.client_options.get(
        "client_name"
    )
    return given or f"hz.failover_client_{uuid.uuid4().hex[:8]}"


def _worker_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


_living: weakref.WeakSet[HazelcastClient] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    for client in list(_living):
        client._after_fork()


@atexit.register
def _end_at_exit() -> None:
    for client in list(_living):
        client._shut_down(_EXIT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)
