"""Where followers come from: one for each structure, until it is destroyed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from hazelcast import cp, proxy
from hazelcast.errors import HazelcastError, OperationTimeoutError
from hazelcast.future import Future
from hazelcast.proxy.cp.atomic_long import AtomicLong
from hazelcast.proxy.cp.atomic_reference import AtomicReference
from hazelcast.proxy.cp.count_down_latch import CountDownLatch
from hazelcast.proxy.cp.fenced_lock import FencedLock
from hazelcast.proxy.cp.semaphore import Semaphore
from hazelcast.proxy.executor import Executor
from hazelcast.proxy.flake_id_generator import FlakeIdGenerator
from hazelcast.proxy.list import List
from hazelcast.proxy.map import Map
from hazelcast.proxy.multi_map import MultiMap
from hazelcast.proxy.pn_counter import PNCounter
from hazelcast.proxy.queue import Queue
from hazelcast.proxy.reliable_topic import ReliableTopic
from hazelcast.proxy.replicated_map import ReplicatedMap
from hazelcast.proxy.ringbuffer import Ringbuffer
from hazelcast.proxy.set import Set
from hazelcast.proxy.topic import Topic
from hazelcast.proxy.vector_collection import VectorCollection

from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._api.proxies import following_class, real_proxy, unbind
from flask_hazelcast_failover.client._api.structure_creator import StructureCreator
from flask_hazelcast_failover.client._connect.link import CLIENT, Link, ProxyKey, on_thread
from flask_hazelcast_failover.client._official import proper_cp_name
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientShutDown

__all__ = ["ProxySource"]

_STRUCTURES: dict[str, type[Any]] = {
    proxy.EXECUTOR_SERVICE: Executor,
    proxy.FLAKE_ID_GENERATOR_SERVICE: FlakeIdGenerator,
    proxy.LIST_SERVICE: List,
    proxy.MAP_SERVICE: Map,
    proxy.MULTI_MAP_SERVICE: MultiMap,
    proxy.PN_COUNTER_SERVICE: PNCounter,
    proxy.QUEUE_SERVICE: Queue,
    proxy.RELIABLE_TOPIC_SERVICE: ReliableTopic,
    proxy.REPLICATED_MAP_SERVICE: ReplicatedMap,
    proxy.RINGBUFFER_SERVICE: Ringbuffer,
    proxy.SET_SERVICE: Set,
    proxy.TOPIC_SERVICE: Topic,
    proxy.VECTOR_SERVICE: VectorCollection,
}
_CP_STRUCTURES: dict[str, type[Any]] = {
    cp.ATOMIC_LONG_SERVICE: AtomicLong,
    cp.ATOMIC_REFERENCE_SERVICE: AtomicReference,
    cp.COUNT_DOWN_LATCH_SERVICE: CountDownLatch,
    cp.LOCK_SERVICE: FencedLock,
    cp.SEMAPHORE_SERVICE: Semaphore,
}


class ProxySource:
    """Hands out followers, the same one for the same name, without touching the network.

    :param operations: carries out what followers are asked for
    :param listeners: those of the structures
    :param executor: the thread on which members are told of structures that were handed out
    :param links: the open links
    """

    def __init__(
        self,
        operations: Operations,
        listeners: Listeners,
        executor: SerialExecutor,
        links: Callable[[], Iterable[Link]],
    ) -> None:
        self._operations = operations
        self._listeners = listeners
        self._links = links
        self.creator = StructureCreator(operations.route, executor)
        # Handed out or used, and not destroyed since; single steps of a dict.
        self._followers: dict[ProxyKey, Any] = {}
        # Destroyed or only listed, for as long as somebody holds them: a structure has one follower at a time.
        self._loose: weakref.WeakValueDictionary[ProxyKey, Any] = weakref.WeakValueDictionary()
        self.cp = _CPProxySource(self)

    def get_or_create(self, service: str, name: str) -> Any:
        """The follower of a structure, as the official client's proxy manager gives the proxy."""
        return self.follower(_STRUCTURES[service], service, name)

    def follower(self, official: type[Any], service: str, name: str) -> Any:
        """The follower of an official class for a name.

        :raises HazelcastClientNotActiveError: the client was shut down before it was asked for
        """
        key = ProxyKey(official.__name__, service, name)
        known = self._followers.get(key)
        if known is None:
            if self._operations.route.state is State.CLOSED:
                raise ClientShutDown
            loose = self._loose.get(key)
            known = self._followers.setdefault(key, self._new(official, key) if loose is None else loose)
            self.tell_of(key)
        return known

    def tell_of(self, key: ProxyKey) -> None:
        """Have members make a structure if it is handed out. Waits for nothing."""
        if self.is_used(key) and self._operations.route.link is not None:
            self.creator.add([key])

    def keep(self, follower: Any) -> None:
        """Keep a follower that is used: it may have been destroyed before."""
        if follower._key not in self._followers:
            self._followers.setdefault(follower._key, follower.blocking()._wrapped)

    def is_used(self, key: ProxyKey) -> bool:
        """Whether a structure was handed out or used, and not destroyed since."""
        return key in self._followers

    def complete(self, link: Link) -> None:
        """Have members of the cluster that operations go to now make what was handed out. Waits for nothing."""
        self.creator.add([key for key in list(self._followers) if link.real(key) is None])

    def list_all(self) -> list[Any]:
        """The followers of all structures that members know, those handed out among them."""
        # They know of a structure once it is used.
        self._make_all()
        listed = self._operations.operation(
            CLIENT, "get_distributed_objects", MethodTraits(Idempotency.READ), self._list_at
        )
        found: list[Any] = self._operations.run(listed)
        return found

    def forget(self, key: ProxyKey) -> None:
        """Forget a structure that was destroyed, wherever something of it is known."""
        self._let_go(key)
        links = list(self._links())
        self._listeners.forget(key, links)
        self._operations.affinity.forget(key, links)
        for link in links:
            link.forget(key)

    def look_after(self, link: Link) -> None:
        """Have a link that was just opened keep only what is used."""
        link.is_used = self.is_used
        for key in link.proxy_keys():
            if not self.is_used(key):
                link.forget(key)  # destroyed since it was made there, while nobody looked at that link

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same followers."""
        self.creator.reset_after_fork()

    def _make_all(self) -> None:
        for key, follower in list(self._followers.items()):
            if not key.service:
                continue
            with self.creator.making(key) as may:
                # Members without vector collections refuse them.
                try:
                    if may and key in self._followers:
                        real_proxy(follower)
                except OperationTimeoutError:
                    raise  # nor would they answer for the next one
                except HazelcastError:
                    pass  # who cannot be asked at all is told next

    def _list_at(self, client: Any, link: Link) -> Future[list[Any]]:
        known = link.proxy_keys()

        def listed() -> list[Any]:
            found = {(real.service_name, real.name) for real in client.get_distributed_objects()}
            for key in known:
                if key.service and (key.service, key.name) not in found:
                    self._let_go(key)  # somebody else has destroyed it: officially, it is not made again
                    link.forget(key)
            return [self._listed(*one) for one in found]

        return on_thread(listed)

    def _new(self, official: type[Any], key: ProxyKey) -> Any:
        return following_class(official)(self, self._operations, self._listeners, key)

    def _listed(self, service: str, name: str) -> Any:
        # Members know of it: nobody need make it.
        key = ProxyKey(_STRUCTURES[service].__name__, service, name)
        known = self._followers.get(key)
        if known is None:
            known = self._loose.setdefault(key, self._new(_STRUCTURES[service], key))
        return known

    def _let_go(self, key: ProxyKey) -> None:
        follower = self._followers.pop(key, None)
        if follower is not None:
            self._loose[key] = follower
            unbind(follower)


class _CPProxySource:
    def __init__(self, source: ProxySource) -> None:
        self._source = source

    def get_or_create(self, service: str, name: str) -> Any:
        # CP objects belong to no service that a proxy could be created in beforehand.
        return self._source.follower(_CP_STRUCTURES[service], "", proper_cp_name(name))
