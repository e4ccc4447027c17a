"""The client's services: the members of the cluster, the owners of partitions, the state of the client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from hazelcast.cluster import ClusterService
from hazelcast.core import MemberInfo
from hazelcast.lifecycle import LifecycleService, LifecycleState
from hazelcast.partition import PartitionService

from ...errors import ClientOfflineException
from ...failover import FailoverConfig
from .._connect.link import CLIENT, Link
from .._operations.idempotency import READ
from .._operations.operations import Operations
from ..options import Options
from ..status import State
from .listener_queue import ListenerQueues, QueuedListeners, call_listener, title_of
from .signatures import mirrors

_MemberListener = Callable[[MemberInfo], None]
_MemberListeners = tuple[_MemberListener | None, _MemberListener | None]  # for members added, and removed


class FollowingClusterService(ClusterService):
    """The members of the active cluster, and listeners for them.

    To listeners, a switch looks as if the members of the former cluster left and those of the next one joined.
    """

    def __init__(
        self, operations: Operations, queues: ListenerQueues, configured_listeners: Iterable[_MemberListeners]
    ) -> None:
        self._operations = operations
        self._listeners = QueuedListeners[_MemberListeners](queues, "listener of members")
        self._lock = threading.Lock()
        self._members: dict[UUID, MemberInfo] = {}  # those that listeners know of; under _lock
        self._followed: Link | None = None  # under _lock
        for added, removed in configured_listeners:
            self._listeners.add((added, removed), title_of(added or removed))

    @mirrors(ClusterService.add_listener)
    def add_listener(
        self,
        member_added: _MemberListener | None = None,
        member_removed: _MemberListener | None = None,
        fire_for_existing: bool = False,
    ) -> str:
        if fire_for_existing:
            self.get_members()  # connects, so that members are known
        with self._lock:  # so that each member is either among the known ones or reported as added
            listener = member_added, member_removed
            registration_id = self._listeners.add(listener, title_of(member_added or member_removed))
            known = list(self._members.values())
        if fire_for_existing and member_added is not None:
            for member in known:
                member_added(member)
        return registration_id

    @mirrors(ClusterService.remove_listener)
    def remove_listener(self, registration_id: str) -> bool:
        return self._listeners.remove(registration_id)

    @mirrors(ClusterService.get_members)
    def get_members(self, member_selector: Callable[[MemberInfo], bool] | None = None) -> list[MemberInfo]:
        if self._operations.route.state is State.CLOSED:
            return []

        def start(client: Any, _: Link) -> Any:
            return client.cluster_service.get_members(member_selector)

        try:
            members: list[MemberInfo] = self._operations.call(
                CLIENT, "cluster_service.get_members", READ, start
            )
        except ClientOfflineException:
            # The last known ones, as in the official client.
            with self._lock:
                members = list(self._members.values())
            if not members:
                raise
            members = [member for member in members if member_selector is None or member_selector(member)]
        return members

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        self._members = {}
        self._followed = None
        self._listeners.reset_after_fork()

    def follow(self, link: Link) -> None:
        """Report the members of a link that is about to become the active one. For the controller; does not wait."""
        service = link.client.cluster_service
        if not link.follows_members:
            link.follows_members = True
            service.add_listener(
                lambda member: self._changed(link, _by_id(member), {}),
                lambda member: self._changed(link, {}, _by_id(member)),
            )
        now = _by_id(*service.get_members())
        with self._lock:
            self._followed = link
            known = dict(self._members)
        self._changed(link, now, {id_: member for id_, member in known.items() if id_ not in now})

    def _changed(self, link: Link, present: dict[UUID, MemberInfo], left: dict[UUID, MemberInfo]) -> None:
        with self._lock:
            if self._followed is not link:
                return
            left = {id_: member for id_, member in left.items() if self._members.pop(id_, None)}
            new = {id_: member for id_, member in present.items() if id_ not in self._members}
            self._members.update(new)
            # Queued under the lock, so that each listener gets the changes of several threads in the order in which
            # they were made above. put() neither waits nor calls a listener.
            for (added, removed), queue in self._listeners.all():
                for listener, members in ((removed, left), (added, new)):
                    if listener is not None:
                        for member in members.values():
                            queue.put(partial(call_listener, listener, member))


class FollowingPartitions(PartitionService):
    """The partitions of the active cluster."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @mirrors(PartitionService.get_partition_owner)
    def get_partition_owner(self, partition_id: int) -> UUID | None:
        owner: UUID | None = self._run("get_partition_owner", partition_id)
        return owner

    @mirrors(PartitionService.get_partition_id)
    def get_partition_id(self, key: Any) -> int:
        return int(self._run("get_partition_id", key))

    @mirrors(PartitionService.get_partition_count)
    def get_partition_count(self) -> int:
        return int(self._run("get_partition_count"))

    def _run(self, method: str, *args: Any) -> Any:
        def start(client: Any, _: Link) -> Any:
            return getattr(client.partition_service, method)(*args)

        return self._operations.call(CLIENT, f"partition_service.{method}", READ, start)


class FollowingLifecycle(LifecycleService):
    """The state of this client, which outlives its connections, and listeners for it."""

    def __init__(
        self,
        is_running: Callable[[], bool],
        queues: ListenerQueues,
        configured_listeners: Iterable[Callable[[str], None]],
    ) -> None:
        self._is_running = is_running
        self._listeners = QueuedListeners[Callable[[str], None]](queues, "lifecycle listener")
        self._lock = threading.Lock()
        self._is_connected = False  # by what was fired; under _lock
        for listener in configured_listeners:
            self._listeners.add(listener, title_of(listener))

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        self._is_connected = False
        self._listeners.reset_after_fork()

    @mirrors(LifecycleService.is_running)
    def is_running(self) -> bool:
        return self._is_running()

    @mirrors(LifecycleService.add_listener)
    def add_listener(self, on_state_change: Callable[[str], None]) -> str:
        return self._listeners.add(on_state_change, title_of(on_state_change))

    @mirrors(LifecycleService.remove_listener)
    def remove_listener(self, registration_id: str) -> bool:
        return self._listeners.remove(registration_id)

    def fire(self, state: str) -> None:
        """Queue a change of state for the listeners.

        ``SHUTDOWN`` of a connected client comes after ``DISCONNECTED``, as in the official client.
        """
        with self._lock:
            disconnects = state == LifecycleState.SHUTDOWN and self._is_connected
            if state in (LifecycleState.CONNECTED, LifecycleState.DISCONNECTED):
                self._is_connected = state == LifecycleState.CONNECTED
        listeners = self._listeners.all()
        for fired in (LifecycleState.DISCONNECTED, state) if disconnects else (state,):
            for listener, queue in listeners:
                queue.put(partial(call_listener, listener, fired))


def configured(option: str, options: Options, clusters: FailoverConfig) -> list[Any]:
    """The listeners that configurations hold: they listen to this client, whatever the cluster.

    :param option: ``"membership_listeners"`` or ``"lifecycle_listeners"``
    """
    found: list[Any] = []
    for given in (options.client_options, *(cluster.client_options for cluster in clusters.clusters)):
        found += [listener for listener in given.get(option) or () if listener not in found]
    return found


def _by_id(*members: MemberInfo) -> dict[UUID, MemberInfo]:
    return {member.uuid: member for member in members if member.uuid is not None}
