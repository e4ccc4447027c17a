"""Proxies that follow the client: one generic mechanism over the official classes.

A follower is a subclass of the official class, so that editors, mypy and ``isinstance`` see what
they know. Each of its methods runs on the real proxy of the active link. While that link stays the
active one, a blocking call costs a few dictionary steps more than the official one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

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

from flask_hazelcast_failover.client.drop_in import stands_in_for
from flask_hazelcast_failover.client.link import STARTING, Link, ProxyKey, call_numbers, on_thread
from flask_hazelcast_failover.client.listeners import Listeners
from flask_hazelcast_failover.client.methods import Fate, Kind, Method, method_of
from flask_hazelcast_failover.client.official import proper_cp_name
from flask_hazelcast_failover.client.operation import LOSSES, Operation, bound, waits
from flask_hazelcast_failover.client.operations import Operations
from flask_hazelcast_failover.client.route import Route, State
from flask_hazelcast_failover.errors import ClientShutDown

__all__ = ["Follower", "ProxySource", "follower_class"]

_Call = Callable[..., Any]
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
_DESTROYED_BLOCKING = frozenset(structure.__name__ for structure in _STRUCTURES.values())
# The attributes of a follower that are not those of the real proxy.
_OWN = frozenset({"_source", "_ops", "_listeners", "_key", "_bound", "_blocking"})
# Classes are hashable, which the type checker does not know of type[Any].
_cached: Callable[[_Call], _Call] = functools.cache
# What a blocking method uses while nothing happens: the link that it was last bound to, the calls counted in
# there, the real proxy, and where it looks whether that still holds.
_Bound = tuple[object, dict[int, Any], Any, Route, dict[int, int]]
_NOWHERE = object()  # is never the active link
_NOT_RUN, _UNKNOWN = Fate.NOT_RUN, Fate.UNKNOWN  # a step less on the way of every call


class ProxySource:
    """Hands out followers, the same one for the same name, without touching the network."""

    def __init__(self, operations: Operations, listeners: Listeners) -> None:
        self._operations = operations
        self._listeners = listeners
        self._followers: dict[ProxyKey, Any] = {}  # single steps of a dict
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
            follower = follower_class(official)(self, self._operations, self._listeners, key)
            known = self._followers.setdefault(key, follower)
        return known

    def make_all(self) -> None:
        """Have members know of every structure that a proxy was handed out for."""
        for follower in list(self._followers.values()):
            if follower.service_name:
                # Members without vector collections refuse them.
                try:
                    _real(follower)
                except OperationTimeoutError:
                    raise  # nor would they answer for the next one
                except HazelcastError:
                    pass  # who cannot be asked at all is told next

    def forget(self, key: ProxyKey) -> None:
        """Drop the follower of a structure that was destroyed, and its listeners."""
        self._followers.pop(key, None)
        self._listeners.forget(key)


class _CPProxySource:
    def __init__(self, source: ProxySource) -> None:
        self._source = source

    def get_or_create(self, service: str, name: str) -> Any:
        # CP objects belong to no service that a proxy could be created in beforehand.
        return self._source.follower(_CP_STRUCTURES[service], "", proper_cp_name(name))


class Follower:
    """What every proxy of ours has: its key, and what it was last bound to."""

    def __init__(
        self, source: ProxySource, operations: Operations, listeners: Listeners, key: ProxyKey
    ) -> None:
        self._source = source
        self._ops = operations
        self._listeners = listeners
        self._key = key
        self._bound = _unbound(operations)  # replaced as a whole; a stale one is noticed by its link
        self.name = key.name
        self.service_name = key.service

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be copied or pickled: it belongs to the client of its process; get it by its name"
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__.removeprefix("Blocking")}(name="{self.name}")'


class _FutureFollower(Follower):
    _blocking_class: type[Any]
    _blocking: Any = None  # made once; two at the same time do no harm

    def blocking(self) -> Any:
        """Returns a version of this proxy with only blocking method calls."""
        if self._blocking is None:
            self._blocking = self._blocking_class(self)
        return self._blocking

    # What the official proxy keeps private belongs to the real one of the moment. A blocking proxy keeps
    # nothing, and would pay for a hook like these at each step.

    def __getattr__(self, name: str) -> Any:
        ops = self.__dict__.get("_ops")
        if not name.startswith("_") or name.startswith("__") or ops is None or ops.route.link is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(_real(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or not name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(_real(self), name, value)


class _BlockingFollower(Follower):
    def __init__(self, wrapped: Follower) -> None:
        Follower.__init__(self, wrapped._source, wrapped._ops, wrapped._listeners, wrapped._key)
        self._wrapped = wrapped

    def blocking(self) -> Any:
        """Returns this proxy."""
        return self


@_cached
def follower_class(official: type[Any]) -> type[Any]:
    """The following version of an official proxy class such as ``hazelcast.proxy.map.Map``."""
    blocking_name = f"Blocking{official.__name__}"
    official_blocking = getattr(inspect.getmodule(official), blocking_name)
    blocking = _subclass(official_blocking, _BlockingFollower, official.__name__, _blocking_method)
    follower = _subclass(official, _FutureFollower, official.__name__, _future_method)
    follower._blocking_class = blocking
    return follower


def _subclass(
    official: type[Any], base: type[Any], structure: str, make: Callable[[str, Method], _Call]
) -> type[Any]:
    methods: dict[str, Any] = {"__module__": official.__module__, "__doc__": official.__doc__}
    for name, function in inspect.getmembers(official, inspect.isfunction):
        if name.startswith("_") or name == "blocking":
            continue
        method = method_of(structure, name)
        # CP objects are destroyed by an operation like any other, the rest by a blocking call in both flavours.
        makes = _destroy if name == "destroy" and structure in _DESTROYED_BLOCKING else make
        methods[name] = stands_in_for(function)(makes(name, method))
    return type(official.__name__, (base, official), methods)


def _blocking_method(name: str, method: Method) -> _Call:
    if method.kind is Kind.LOCAL:
        return _local(name)
    if method.kind in (Kind.LISTEN, Kind.UNLISTEN):
        future_method = _future_method(name, method)
        return lambda self, *args, **kwargs: future_method(self, *args, **kwargs).result()
    if method.waits or method.bond:
        return lambda self, *args, **kwargs: self._ops.run(_operation(self, name, method, args, kwargs))
    return _quick_method(name, method)


def _quick_method(name: str, method: Method) -> _Call:
    """A blocking method at little cost while nothing happens."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        link, calls, real, route, sections = self._bound
        if route.link is not link or sections:
            result = self._ops.run(_operation(self, name, method, args, kwargs))
            self._bound = _bound_to_active(self._ops, self._key)
            return result
        number = call_numbers()
        # Counted in first, then looked again: a link that is left waits for every call counted in.
        calls[number] = STARTING
        fate = _NOT_RUN
        try:
            if route.link is link:
                result = getattr(real, name)(*args, **kwargs)
                fate = _UNKNOWN
                if isinstance(result, Future):
                    calls[number] = result
                    result = result.result()
                return result
            lost = None
        except LOSSES as error:
            lost = self._ops.lost(_operation(self, name, method, args, kwargs), link, fate, error, None)
        finally:
            del calls[number]
        return self._ops.run(_operation(self, name, method, args, kwargs), lost)

    return call


def _future_method(name: str, method: Method) -> _Call:
    if method.kind is Kind.LOCAL:
        return _local(name)
    if method.kind is Kind.LISTEN:
        return lambda self, *args, **kwargs: self._listeners.add(self._key, name, args, kwargs)
    if method.kind is Kind.UNLISTEN:
        return lambda self, registration_id: self._listeners.remove(registration_id)
    return lambda self, *args, **kwargs: self._ops.submit(_operation(self, name, method, args, kwargs))


def _local(name: str) -> _Call:
    return lambda self, *args, **kwargs: getattr(_real(self), name)(*args, **kwargs)


def _destroy(name: str, method: Method) -> _Call:
    def call(self: Any) -> bool:
        def start(real: Any, link: Link) -> Future[bool]:
            # So that neither this link nor anybody who asks meanwhile goes on with the real one.
            link.forget(self._key)
            return on_thread(real.destroy)

        result: bool = self._ops.run(self._ops.operation(self._key, name, method, start))
        self._source.forget(self._key)
        bound_one = self.blocking()  # the other flavour of this very structure may be bound to the real one
        bound_one._bound = _unbound(self._ops)
        return result

    return call


def _operation(
    self: Any, name: str, method: Method, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Operation:
    ops: Operations = self._ops
    position = _position(type(self), name, method.waits) if isinstance(method.waits, str) else 0
    operation = ops.operation(
        self._key,
        name,
        method,
        lambda real, link: getattr(real, name)(*args, **kwargs),
        waits=waits(method, args, kwargs, position),
    )
    return bound(operation, args, kwargs) if method.bond else operation


@_cached
def _position(follower: type[Any], name: str, argument: str) -> int:
    """Where an argument stands among the positional ones of a method."""
    return list(inspect.signature(getattr(follower, name)).parameters).index(argument) - 1


def _bound_to_active(ops: Operations, key: ProxyKey) -> _Bound:
    link = ops.route.link
    real = link.real(key) if link is not None else None
    if link is None or real is None:
        return _unbound(ops)
    return link, link.calls, real, ops.route, ops.sections


def _unbound(ops: Operations) -> _Bound:
    return _NOWHERE, {}, None, ops.route, ops.sections


def _real(self: Any) -> Any:
    """The real proxy of the moment, asked for on the way of an operation that does nothing else."""
    return self._ops.run(self._ops.operation(self._key, "get", Method(Kind.READ), lambda real, link: real))
