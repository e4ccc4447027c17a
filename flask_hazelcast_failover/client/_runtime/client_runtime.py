"""The life of a client: it begins to connect, may fail to start, shuts down, is forked, or its process exits."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

from hazelcast.lifecycle import LifecycleState

from ..._foreign_text import listed
from ..._threads import Promise
from ...errors import ClientOfflineException, ClientShutDown
from ...failover import FailoverConfig
from .._api.listener_queue import ListenerQueues
from .._api.listeners import Listeners
from .._api.proxy_source import ProxySource
from .._api.services import FollowingClusterService, FollowingLifecycle, configured
from .._connect.link import Link
from .._controller.messages import SwitchRequest
from .._official import OfficialClient
from .._operations.operations import Operations
from .._operations.route import Route
from .._process.environment import check_process
from .._process.lifecycle import hook_uwsgi_forks, register, unregister
from .._process.serial_executor import SerialExecutor
from ..control import FleetHook
from ..events import Event, Reason
from ..options import Options
from ..status import ClientStatus, State
from .effects import Parts
from .engine import Engine
from .event_log import EventLog
from .names import worker_id

# The length of the description of all clusters, in characters: a message has something before it.
_MAX_DESCRIPTION = 1900
# How long shutting down may take, seconds; and how much of that are allowed to listeners and receivers that are busy,
# to attempts that have just begun, and to the fleet.
_SHUTDOWN = 5.0
_LISTENER_GRACE, _ATTEMPT_GRACE, _FLEET_GRACE = 1.0, 0.3, 0.3


class ClientRuntime:
    """The parts of a client, and what becomes of them.

    :param clusters: the clusters in order of priority
    :param options: the client's options, with ``try_count`` and ``client_name`` filled in
    """

    def __init__(self, clusters: FailoverConfig, options: Options) -> None:
        self._clusters = clusters
        self._options = options
        self._worker = worker_id()
        self._threads_are: object = threading.local  # gevent's patches put another one in its place
        self._lock = threading.RLock()  # guards the engine's beginning, exchange and end
        self._ended = Promise[None]()  # shutting down is over
        self._hook: FleetHook | None = None  # set once, before the first use
        names = ("runner", "waiter", "creator", "listeners", "announcer")
        self._executors = tuple(SerialExecutor(f"hazelcast-failover-{name}") for name in names)
        completion, waiting, creation, self._listener_executor, announcing = self._executors
        self._events = EventLog(announcing)
        self.subscribe = self._events.subscribe
        self.route = Route(self.connect_soon, self.describe)
        self.operations = Operations(self.route, options, completion, waiting)
        queues = ListenerQueues(options, self._listener_executor, self.operations.policy.count_dropped_event)
        self.listeners = Listeners(self.operations, queues)
        self.members = FollowingClusterService(
            self.operations, queues, configured("membership_listeners", options, clusters)
        )
        self.lifecycle = FollowingLifecycle(
            self.is_running, queues, configured("lifecycle_listeners", options, clusters)
        )
        self.proxies = ProxySource(self.operations, self.listeners, creation, lambda: self.engine.links.all())
        self.engine = self._new_engine()
        register(self)

    @property
    def status(self) -> ClientStatus:
        """The latest status."""
        return self.engine.status

    def is_running(self) -> bool:
        """Whether the client was not shut down."""
        return self.route.state is not State.CLOSED

    def describe(self) -> str:
        """Each cluster, ten at most, and how it is; short enough for a message."""
        described = [f"{one.label} ({one.last_error or one.state})" for one in self.status.clusters]
        return listed(described, limit=_MAX_DESCRIPTION)

    def start(self) -> None:
        """Connect. If that fails nothing is left behind but the reasons, and it may be tried again.

        :raises ClientOfflineException: no cluster can be reached
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        was_idle = self.route.state is State.IDLE
        self.connect_soon()
        engine = self.engine
        try:
            self.route.active(deadline=float("inf"))
        except ClientOfflineException as failure:
            if was_idle:
                self._stop_trying(engine, str(failure))
            raise
        self._listener_executor.flush(_LISTENER_GRACE if was_idle else 0)  # listeners know, as officially

    def shutdown(self) -> None:
        """Shut down for good. Takes some seconds at most, whatever state the clusters are in."""
        deadline = time.monotonic() + _SHUTDOWN
        with self._lock:
            is_first = self.is_running()
            self.route.close()
        if not is_first:
            if not any(executor.is_current() for executor in self._executors):
                with suppress(TimeoutError):
                    self._ended.result(_SHUTDOWN)
            return
        try:
            if self._hook is not None:
                self._hook.deregister(_FLEET_GRACE)
            self.lifecycle.fire(LifecycleState.SHUTTING_DOWN)
            self.engine.stop(max(0.0, deadline - time.monotonic()))
            self.engine.join(_ATTEMPT_GRACE)
            self.lifecycle.fire(LifecycleState.SHUTDOWN)
            self._end_executors(min(deadline, time.monotonic() + _LISTENER_GRACE))
        finally:
            unregister(self)
            self._ended.set_result(None)

    # For the rest of the package, see ClientControl; ``switch`` also for a client without one.

    def attach(self, hook: FleetHook) -> None:
        self._hook = hook

    def connect_soon(self) -> None:
        if self.route.state is State.IDLE and self._threads_are is not threading.local:
            self.reset_after_fork()  # greenlets have come meanwhile, which our locks and threads know nothing of
        with self._lock:
            if self.route.state is State.IDLE:
                check_process()
                hook_uwsgi_forks()
                self.engine.begin()

    def connected_clusters(self) -> dict[str, OfficialClient]:
        return self.engine.links.connected_clusters()

    def try_to_connect(self, index: int) -> None:
        self.engine.try_to_connect(index)

    def switch(self, index: int, reason: Reason, *, holds: bool) -> None:
        request = SwitchRequest(index, reason, holds)
        with self._lock:
            if not self.is_running():
                raise ClientShutDown
            self.connect_soon()
            self.engine.post(request)
        request.done.result()

    def get_plain_map(self, name: str) -> Any:
        return self.proxies.plain_map(name)

    def announce(self, event: Event, why: str = "") -> None:
        self._events.announce(event, why)

    def switch_fleet(self, index: int, *, holds: bool) -> None:
        """Switch every process of the fleet; without a fleet this one."""
        if self._hook is None:
            self.switch(index, Reason.MANUAL, holds=holds)
        else:
            self._hook.switch_fleet(index, holds=holds)

    # What happens to the process.

    def abandon_at_exit(self, deadline: float) -> None:
        """The interpreter ends. Daemon threads may go on with the client until it has.

        :param deadline: when to be through, monotonic seconds
        """
        if self._hook is not None:
            self._hook.deregister(max(0.0, min(_FLEET_GRACE, deadline - time.monotonic())))
        self.engine.abandon_at_exit()
        self._end_executors(deadline)

    def reset_after_fork(self) -> None:
        """In a forked child: connect at the first use, and leave the parent's connections alone."""
        inherited = self.engine
        self._worker = worker_id()
        self._threads_are = threading.local
        self._lock = threading.RLock()
        self._ended = Promise()
        self.route.reset_after_fork()
        for executor in self._executors:
            executor.reset_after_fork()
        self.operations.reset_after_fork()
        self.listeners.reset_after_fork()
        self.proxies.reset_after_fork()
        self.members.reset_after_fork()
        self.lifecycle.reset_after_fork()
        if not self.is_running():
            self._ended.set_result(None)
        self.engine = self._new_engine()
        inherited.abandon_in_child()

    def _stop_trying(self, engine: Engine, why: str) -> None:
        try:
            engine.stop(_SHUTDOWN, partial(ClientOfflineException, why))
            engine.join(_SHUTDOWN)
        finally:
            with self._lock:
                if self.engine is engine:
                    self.engine = self._new_engine()
                    self.engine.remember(engine.status)
                    self.route.idle(why)
        for executor in self._executors:
            executor.pause(_LISTENER_GRACE)

    def _end_executors(self, deadline: float) -> None:
        for executor in self._executors:
            executor.stop()
        for executor in self._executors:
            executor.join(max(0.0, deadline - time.monotonic()))

    def _new_engine(self) -> Engine:
        parts = Parts(
            self.route,
            self.listeners,
            self.proxies,
            self.lifecycle,
            self.members,
            self._events.announce,
            self._tend,
            self._preferred,
        )
        return Engine(self._clusters.clusters, self._options, self._worker, parts)

    def _tend(self) -> None:
        self.operations.tend()
        for executor in self._executors:
            executor.tend()

    def _preferred(self, link: Link) -> int | None:
        label = self._hook.preferred(link.label, link.client) if self._hook else None
        labels = self._clusters.labels
        return labels.index(label) if label in labels else None
