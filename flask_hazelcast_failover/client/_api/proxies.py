"""Proxies that follow the client: one generic mechanism over the official classes.

A follower is a subclass of the official class, so that editors, mypy and ``isinstance`` see what
they know. Each of its methods runs on the real proxy of the active link. While that link stays the
active one, a blocking call costs a few dictionary steps more than the official one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from hazelcast.errors import IllegalMonitorStateError
from hazelcast.future import Future
from hazelcast.proxy.base import Proxy

from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._api.signatures import mirrors
from flask_hazelcast_failover.client._connect.link import STARTING, Link, ProxyKey, call_numbers, on_thread
from flask_hazelcast_failover.client._identity import LockRequest
from flask_hazelcast_failover.client._operations.idempotency import (
    Affinity,
    Idempotency,
    MethodTraits,
    Outcome,
    traits_of,
)
from flask_hazelcast_failover.client._operations.operation import (
    LOSS_ERRORS,
    Operation,
    own_timeout,
    with_holder,
)
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client._operations.route import Route

if TYPE_CHECKING:
    from flask_hazelcast_failover.client._api.proxy_source import ProxySource

__all__ = ["FollowingProxy", "following_class", "real_proxy", "unbind"]

_Call = Callable[..., Any]
# The attributes of a follower that are not those of the real proxy.
_OWN = frozenset({"_source", "_ops", "_listeners", "_key", "_bound", "_blocking"})
# Classes are hashable, which the type checker does not know of type[Any].
_cached: Callable[[_Call], _Call] = functools.cache
# What a blocking method uses while nothing happens: the link that it was last bound to, the calls counted in
# there, the real proxy, and where it looks whether that still holds.
_Bound = tuple[object, dict[int, Any], Any, Route, dict[int, int]]
_NOWHERE = object()  # is never the active link
_NOT_RUN, _UNKNOWN = Outcome.NOT_RUN, Outcome.UNKNOWN  # a step less on the way of every call


class FollowingProxy:
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


class _FutureFollower(FollowingProxy):
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
        return getattr(real_proxy(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _OWN or not name.startswith("_"):
            object.__setattr__(self, name, value)
        else:
            setattr(real_proxy(self), name, value)


class _BlockingFollower(FollowingProxy):
    def __init__(self, wrapped: FollowingProxy) -> None:
        FollowingProxy.__init__(self, wrapped._source, wrapped._ops, wrapped._listeners, wrapped._key)
        self._wrapped = wrapped

    def blocking(self) -> Any:
        """Returns this proxy."""
        return self


@_cached
def following_class(official: type[Any]) -> type[Any]:
    """The following version of an official proxy class such as ``hazelcast.proxy.map.Map``."""
    blocking_name = f"Blocking{official.__name__}"
    official_blocking = getattr(inspect.getmodule(official), blocking_name)
    blocking = _subclass(official_blocking, _BlockingFollower, official.__name__, _blocking_method)
    follower = _subclass(official, _FutureFollower, official.__name__, _future_method)
    follower._blocking_class = blocking
    return follower


def unbind(follower: Any) -> None:
    """Have both flavours of a follower look for the real proxy anew."""
    follower.blocking()._bound = _unbound(follower._ops)


def real_proxy(follower: Any) -> Any:
    """The real proxy of the moment, asked for on the way of an operation that does nothing else."""
    follower._source.keep(follower)
    return follower._ops.run(
        follower._ops.operation(follower._key, "get", MethodTraits(Idempotency.READ), lambda real, link: real)
    )


def _subclass(
    official: type[Any], base: type[Any], structure: str, make: Callable[[str, MethodTraits], _Call]
) -> type[Any]:
    methods: dict[str, Any] = {"__module__": official.__module__, "__doc__": official.__doc__}
    for name, function in inspect.getmembers(official, inspect.isfunction):
        if name.startswith("_") or name == "blocking":
            continue
        method = traits_of(structure, name)
        if name != "destroy":
            call = make(name, method)
        elif issubclass(official, Proxy):
            call = _destroy(name, method)  # a blocking call in both flavours
        else:
            call = _forgotten_after(make(name, method))  # CP objects: an operation like any other
        methods[name] = mirrors(function)(call)
    return type(official.__name__, (base, official), methods)


def _blocking_method(name: str, method: MethodTraits) -> _Call:
    if method.kind is Idempotency.LOCAL:
        return _local(name)
    if method.kind in (Idempotency.LISTEN, Idempotency.UNLISTEN):
        future_method = _future_method(name, method)
        return lambda self, *args, **kwargs: future_method(self, *args, **kwargs).result()
    if method.waits or method.bond:
        return lambda self, *args, **kwargs: self._ops.run(_operation(self, name, method, args, kwargs))
    return _quick_method(name, method)


def _quick_method(name: str, method: MethodTraits) -> _Call:
    """A blocking method at little cost while nothing happens."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        link, calls, real, route, sections = self._bound
        if route.link is not link or sections:
            result = self._ops.run(_operation(self, name, method, args, kwargs))
            _bind(self)
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
        except LOSS_ERRORS as error:
            lost = self._ops.lost(_operation(self, name, method, args, kwargs), link, fate, error, None)
        finally:
            del calls[number]
        return self._ops.run(_operation(self, name, method, args, kwargs), lost)

    return call


def _future_method(name: str, method: MethodTraits) -> _Call:
    if method.kind is Idempotency.LOCAL:
        return _local(name)
    if method.kind is Idempotency.LISTEN:
        return _listening_method(name)
    if method.kind is Idempotency.UNLISTEN:
        return lambda self, registration_id: self._listeners.remove(registration_id)
    return lambda self, *args, **kwargs: self._ops.submit(_operation(self, name, method, args, kwargs))


def _listening_method(name: str) -> _Call:
    def call(self: Any, *args: Any, **kwargs: Any) -> Future[str]:
        self._source.keep(self)
        added: Future[str] = self._listeners.add(self._key, name, args, kwargs)
        return added

    return call


def _local(name: str) -> _Call:
    return lambda self, *args, **kwargs: getattr(real_proxy(self), name)(*args, **kwargs)


def _destroy(name: str, method: MethodTraits) -> _Call:
    def call(self: Any) -> bool:
        ops: Operations = self._ops
        with self._source.creator.destroying(self._key) as wait_for_those_who_make_it:

            def start(real: Any, link: Link) -> Future[bool]:
                # So that neither this link nor anybody who asks meanwhile goes on with the real one.
                link.take_back(self._key)

                def destroy() -> bool:
                    wait_for_those_who_make_it(ops.limit)
                    return link.client.destroy(real)

                return on_thread(destroy)

            result: bool = ops.run(ops.operation(self._key, name, method, start))
            self._source.forget(self._key)
        self._source.tell_of(self._key)  # it may have been handed out anew meanwhile
        return result

    return call


def _forgotten_after(destroy: _Call) -> _Call:
    def call(self: Any) -> Any:
        result = destroy(self)
        if isinstance(result, Future):
            return result.continue_with(lambda done: destroyed(self, done.result()))
        return destroyed(self, result)

    def destroyed(self: Any, result: Any) -> Any:
        self._source.forget(self._key)
        return result

    return call


def _operation(
    self: Any, name: str, method: MethodTraits, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Operation:
    ops: Operations = self._ops
    self._source.keep(self)
    position = _position(type(self), name, method.waits) if isinstance(method.waits, str) else 0
    is_numbered = method.bond in (Affinity.LOCK, Affinity.UNLOCK) and bool(self._key.service)
    start = _numbered(name, args, kwargs) if is_numbered else _plain(name, args, kwargs)
    operation = ops.operation(
        self._key,
        name,
        method,
        start,
        waits=own_timeout(method, args, kwargs, position),
        is_numbered=is_numbered,
    )
    return with_holder(operation, args, kwargs) if method.bond else operation


def _plain(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any, Link], Any]:
    return lambda real, link: getattr(real, name)(*args, **kwargs)


def _numbered(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any, Link], Any]:
    request = LockRequest()

    def start(real: Any, link: Link) -> Any:
        is_again = request.counter is link.client.identity.lock_requests
        sent = link.client.send_lock_request(request, lambda: getattr(real, name)(*args, **kwargs))
        return sent.continue_with(_given_back) if is_again and name == "unlock" else sent

    return start


def _given_back(unlocked: Future[Any]) -> None:
    """A lock that is given back once more is not held any more: the first request was carried out."""
    if unlocked.is_success() or not isinstance(unlocked.exception(), IllegalMonitorStateError):
        unlocked.result()


@_cached
def _position(follower: type[Any], name: str, argument: str) -> int:
    """Where an argument stands among the positional ones of a method."""
    return list(inspect.signature(getattr(follower, name)).parameters).index(argument) - 1


def _bind(self: Any) -> None:
    """Bind a blocking follower to the real proxy on the active link."""
    link = self._ops.route.link
    real = link.real(self._key) if link is not None else None
    if link is None or real is None:
        return
    self._bound = link, link.calls, real, self._ops.route, self._ops.sections
    if link.real(self._key) is not real:
        self._bound = _unbound(self._ops)  # it was destroyed right then


def _unbound(ops: Operations) -> _Bound:
    return _NOWHERE, {}, None, ops.route, ops.sections
