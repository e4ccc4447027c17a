"""The client's services: who is in the cluster, who owns a partition, what state the client is in."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from hazelcast.cluster import ClusterService
from hazelcast.core import MemberInfo
from hazelcast.lifecycle import LifecycleService, LifecycleState
from hazelcast.partition import PartitionService

from flask_hazelcast_failover.client._api.listener_queue import ListenerQueue, ListenerQueues, title_of
from flask_hazelcast_failover.client._api.signatures import mirrors
from flask_hazelcast_failover.client._connect.link import CLIENT, Link
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import FailoverConfig

__all__ = ["FollowingClusterService", "FollowingLifecycle", "FollowingPartitions", "configured"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")
_MemberListener = Callable[[MemberInfo], None]


class _ToldOfMembers(NamedTuple):
    added: _MemberListener | None
    removed: _MemberListener | None
    inbox: ListenerQueue


class _ToldOfStates(NamedTuple):
    receive: Callable[[str], None]
    inbox: ListenerQueue


class FollowingClusterService(ClusterService):
    """The members of the cluster that is active, and listeners for them.

    A move to another cluster is told as its members leaving and the other's joining.
    """

    def __init__(
        self,
        operations: Operations,
        inboxes: ListenerQueues,
        given: Iterable[tuple[_MemberListener | None, _MemberListener | None]] = (),
    ) -> None:
        self._operations = operations
        self._inboxes = inboxes
        self._lock = threading.Lock()
        # Under _lock, with those of the configuration.
        self._listeners = {str(uuid.uuid4()): self._told(added, removed) for added, removed in given}
        self._members: dict[UUID, MemberInfo] = {}  # those told of; under _lock
        self._followed: Link | None = None  # under _lock

    @mirrors(ClusterService.add_listener)
    def add_listener(
        self,
        member_added: _MemberListener | None = None,
        member_removed: _MemberListener | None = None,
        fire_for_existing: bool = False,
    ) -> str:
        registration_id = str(uuid.uuid4())
        if fire_for_existing:
            self.get_members()  # connects, so that there are members to tell of
        with self._lock:
            self._listeners[registration_id] = self._told(member_added, member_removed)
            known = list(self._members.values())  # whoever comes later is told of as an event
        if fire_for_existing and member_added is not None:
            for member in known:
                member_added(member)
        return registration_id

    @mirrors(ClusterService.remove_listener)
    def remove_listener(self, registration_id: str) -> bool:
        with self._lock:
            told = self._listeners.pop(registration_id, None)
        if told is not None:
            told.inbox.close()
        return told is not None

    @mirrors(ClusterService.get_members)
    def get_members(self, member_selector: Callable[[MemberInfo], bool] | None = None) -> list[MemberInfo]:
        if self._operations.route.state is State.CLOSED:
            return []
        operation = self._operations.operation(
            CLIENT,
            "cluster_service.get_members",
            MethodTraits(Idempotency.READ),
            lambda client, _: client.cluster_service.get_members(member_selector),
        )
        try:
            members: list[MemberInfo] = self._operations.run(operation)
        except ClientOfflineException:
            # As in the official client: those last known.
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
        for told in self._listeners.values():
            told.inbox.reset_after_fork()

    def follow(self, link: Link) -> None:
        """Tell of a link that is about to become the active one. Called by the controller, waits for nothing."""
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

    def _changed(self, link: Link, here: dict[UUID, MemberInfo], gone: dict[UUID, MemberInfo]) -> None:
        with self._lock:
            if self._followed is not link:
                return
            gone = {id_: member for id_, member in gone.items() if self._members.pop(id_, None)}
            new = {id_: member for id_, member in here.items() if id_ not in self._members}
            self._members.update(new)
            listeners = list(self._listeners.values())
            # In order also if two threads of official clients tell at the same time.
            for added, removed, inbox in listeners:
                if removed is not None:
                    for member in gone.values():
                        inbox.put(partial(_called, removed, member))
                if added is not None:
                    for member in new.values():
                        inbox.put(partial(_called, added, member))

    def _told(self, added: _MemberListener | None, removed: _MemberListener | None) -> _ToldOfMembers:
        name = title_of(added or removed)
        return _ToldOfMembers(added, removed, self._inboxes.new(f"{name} (listener of members)"))


class FollowingPartitions(PartitionService):
    """The partitions of the cluster that is active."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @mirrors(PartitionService.get_partition_owner)
    def get_partition_owner(self, partition_id: int) -> UUID | None:
        owner: UUID | None = self._ask("get_partition_owner", partition_id)
        return owner

    @mirrors(PartitionService.get_partition_id)
    def get_partition_id(self, key: Any) -> int:
        return int(self._ask("get_partition_id", key))

    @mirrors(PartitionService.get_partition_count)
    def get_partition_count(self) -> int:
        return int(self._ask("get_partition_count"))

    def _ask(self, method: str, *args: Any) -> Any:
        def start(client: Any, _: Link) -> Any:
            return getattr(client.partition_service, method)(*args)

        name = f"partition_service.{method}"
        return self._operations.run(
            self._operations.operation(CLIENT, name, MethodTraits(Idempotency.READ), start)
        )


class FollowingLifecycle(LifecycleService):
    """The state of this client, and listeners for it: the client outlives its connections."""

    def __init__(
        self,
        is_running: Callable[[], bool],
        inboxes: ListenerQueues,
        given: Iterable[Callable[[str], None]] = (),
    ) -> None:
        self._is_running = is_running
        self._inboxes = inboxes
        self._lock = threading.Lock()
        # Under _lock, with those of the configuration.
        self._listeners = {str(uuid.uuid4()): self._told(listener) for listener in given}
        self._connected = False  # as told; under _lock

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        self._connected = False
        for told in self._listeners.values():
            told.inbox.reset_after_fork()

    @mirrors(LifecycleService.is_running)
    def is_running(self) -> bool:
        return self._is_running()

    @mirrors(LifecycleService.add_listener)
    def add_listener(self, on_state_change: Callable[[str], None]) -> str:
        registration_id = str(uuid.uuid4())
        with self._lock:
            self._listeners[registration_id] = self._told(on_state_change)
        return registration_id

    @mirrors(LifecycleService.remove_listener)
    def remove_listener(self, registration_id: str) -> bool:
        with self._lock:
            told = self._listeners.pop(registration_id, None)
        if told is not None:
            told.inbox.close()
        return told is not None

    def fire(self, state: str) -> None:
        """Tell the listeners, on the thread that listeners are called on.

        As by the official client, the end of a connection is told before the end of the client.
        """
        with self._lock:
            listeners = list(self._listeners.values())
            leaves = state == LifecycleState.SHUTDOWN and self._connected
            if state in (LifecycleState.CONNECTED, LifecycleState.DISCONNECTED):
                self._connected = state == LifecycleState.CONNECTED
        for told in (LifecycleState.DISCONNECTED, state) if leaves else (state,):
            for listener in listeners:
                listener.inbox.put(partial(_called, listener.receive, told))

    def _told(self, receive: Callable[[str], None]) -> _ToldOfStates:
        return _ToldOfStates(receive, self._inboxes.new(f"{title_of(receive)} (lifecycle listener)"))


def _called(listener: Callable[[Any], None], event: object) -> None:
    try:
        listener(event)
    except Exception:
        _logger.exception("a listener raised")


def _by_id(*members: MemberInfo) -> dict[UUID, MemberInfo]:
    return {member.uuid: member for member in members if member.uuid is not None}


def configured(option: str, options: Options, clusters: FailoverConfig) -> list[Any]:
    """The listeners that configurations hold: they listen to this client, whatever the cluster.

    :param option: ``"membership_listeners"`` or ``"lifecycle_listeners"``
    """
    holders = [options.client_options, *(cluster.client_options for cluster in clusters.clusters)]
    found: list[Any] = []
    for holder in holders:
        found += [listener for listener in holder.get(option) or () if listener not in found]
    return found
