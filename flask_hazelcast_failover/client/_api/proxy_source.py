"""Where proxies come from: one for each structure, until it is destroyed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import hazelcast.proxy
from hazelcast import cp
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

from ...errors import ClientShutDown
from .._connect.link import CLIENT, PLAIN, Link, ProxyKey, on_thread
from .._official import proper_cp_name
from .._operations.idempotency import READ
from .._operations.operations import Operations
from .._process.serial_executor import SerialExecutor
from ..status import State
from .listeners import Listeners
from .proxies import clear_cache, following_class, real_proxy
from .structure_creator import StructureCreator

_STRUCTURES: dict[str, type[Any]] = {
    hazelcast.proxy.EXECUTOR_SERVICE: Executor,
    hazelcast.proxy.FLAKE_ID_GENERATOR_SERVICE: FlakeIdGenerator,
    hazelcast.proxy.LIST_SERVICE: List,
    hazelcast.proxy.MAP_SERVICE: Map,
    hazelcast.proxy.MULTI_MAP_SERVICE: MultiMap,
    hazelcast.proxy.PN_COUNTER_SERVICE: PNCounter,
    hazelcast.proxy.QUEUE_SERVICE: Queue,
    hazelcast.proxy.RELIABLE_TOPIC_SERVICE: ReliableTopic,
    hazelcast.proxy.REPLICATED_MAP_SERVICE: ReplicatedMap,
    hazelcast.proxy.RINGBUFFER_SERVICE: Ringbuffer,
    hazelcast.proxy.SET_SERVICE: Set,
    hazelcast.proxy.TOPIC_SERVICE: Topic,
    hazelcast.proxy.VECTOR_SERVICE: VectorCollection,
}
_CP_STRUCTURES: dict[str, type[Any]] = {
    cp.ATOMIC_LONG_SERVICE: AtomicLong,
    cp.ATOMIC_REFERENCE_SERVICE: AtomicReference,
    cp.COUNT_DOWN_LATCH_SERVICE: CountDownLatch,
    cp.LOCK_SERVICE: FencedLock,
    cp.SEMAPHORE_SERVICE: Semaphore,
}


class ProxySource:
    """Gives out proxies, the same one for the same name, without touching the network.

    :param executor: the thread on which members are made to create structures
    :param links: returns the open links
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
        self._executor = executor
        self.creator = StructureCreator(operations.route, executor)
        # Got by name or used, and not destroyed since; single steps of a dict.
        self._proxies: dict[ProxyKey, Any] = {}
        # Destroyed, or only listed, and still referenced: a structure has one proxy at a time.
        self._detached: weakref.WeakValueDictionary[ProxyKey, Any] = weakref.WeakValueDictionary()
        self.cp = _CPProxySource(self)

    def get_or_create(self, service: str, name: str) -> Any:
        """The proxy of a structure; has the signature of the official proxy manager's method."""
        return self.proxy(_STRUCTURES[service], service, name)

    def proxy(self, official: type[Any], service: str, name: str) -> Any:
        """The proxy of an official class for a name.

        :raises HazelcastClientNotActiveError: the client was shut down, and there is no such proxy yet
        """
        return self._known(official, ProxyKey(official.__name__, service, name))

    def plain_map(self, name: str) -> Any:
        """The proxy of a map that reads strings and byte arrays only, beside the app's own of the same name.

        :raises HazelcastClientNotActiveError: the client was shut down, and there is no such proxy yet
        """
        return self._known(Map, ProxyKey(Map.__name__, hazelcast.proxy.MAP_SERVICE, name, PLAIN))

    def _known(self, official: type[Any], key: ProxyKey) -> Any:
        known = self._proxies.get(key)
        if known is None:
            if self._operations.route.state is State.CLOSED:
                raise ClientShutDown
            detached = self._detached.get(key)
            known = self._proxies.setdefault(key, self._new(official, key) if detached is None else detached)
            self.create_soon(key)
        return known

    def create_soon(self, key: ProxyKey) -> None:
        """Have members create a structure if it is in use. Does not wait."""
        if self.is_used(key) and self._operations.route.link is not None:
            self.creator.add([key])

    def register(self, proxy: Any) -> None:
        """Know a proxy that is used, also if its structure was destroyed before."""
        if proxy._key not in self._proxies:
            self._proxies.setdefault(proxy._key, proxy.blocking()._wrapped)

    def is_used(self, key: ProxyKey) -> bool:
        """Whether a structure was got by name or used, and not destroyed since."""
        return key in self._proxies

    def create_missing(self, link: Link) -> None:
        """Have members of the cluster that became active create the structures in use. Does not wait."""
        self.creator.add([key for key in list(self._proxies) if link.real(key) is None])

    def list_all(self) -> list[Any]:
        """The proxies of all structures that members know, among them those in use."""
        self._create_all()  # members know of a structure once it is used
        found: list[Any] = self._operations.call(CLIENT, "get_distributed_objects", READ, self._list_on)
        return found

    def forget(self, key: ProxyKey) -> None:
        """Forget a structure that was destroyed, on every link."""
        self._detach(key)
        links = list(self._links())
        self._listeners.forget(key, links)
        self._operations.policy.affinity.forget(key, links)
        for link in links:
            link.forget(key)

    def adopt(self, link: Link) -> None:
        """Have a link that was just opened keep the real proxies of structures in use only."""
        link.is_used = self.is_used
        for key in link.proxy_keys():
            if not self.is_used(key):
                link.forget(key)  # destroyed while the link was not among the open ones

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same proxies."""
        self.creator = StructureCreator(self._operations.route, self._executor)

    def _create_all(self) -> None:
        for key, proxy in list(self._proxies.items()):
            if not key.service:
                continue
            with self.creator.creating(key) as is_allowed:
                try:
                    if is_allowed and key in self._proxies:
                        real_proxy(proxy)
                except OperationTimeoutError:
                    raise  # the next one would time out as well
                except HazelcastError:
                    pass  # refused, as vector collections are by old members; the listing itself fails if all do

    def _list_on(self, client: Any, link: Link) -> Future[list[Any]]:
        known = link.proxy_keys()

        def listed() -> list[Any]:
            found = {(real.service_name, real.name) for real in client.get_distributed_objects()}
            for key in known:
                if key.service and (key.service, key.name) not in found:
                    # Destroyed by another client: not created again, as in the official client.
                    self._detach(key)
                    link.forget(key)
            return [self._listed(*one) for one in found]

        return on_thread(listed)

    def _listed(self, service: str, name: str) -> Any:
        # Members know it, so it need not be created.
        official = _STRUCTURES[service]
        key = ProxyKey(official.__name__, service, name)
        known = self._proxies.get(key)
        return self._detached.setdefault(key, self._new(official, key)) if known is None else known

    def _new(self, official: type[Any], key: ProxyKey) -> Any:
        return following_class(official)(self, self._operations, self._listeners, key)

    def _detach(self, key: ProxyKey) -> None:
        proxy = self._proxies.pop(key, None)
        if proxy is not None:
            self._detached[key] = proxy
            clear_cache(proxy)


class _CPProxySource:
    def __init__(self, source: ProxySource) -> None:
        self._source = source

    def get_or_create(self, service: str, name: str) -> Any:
        # A CP object belongs to no service that could create its proxy beforehand.
        return self._source.proxy(_CP_STRUCTURES[service], "", proper_cp_name(name))
