"""Proxies that follow the client: one generic mechanism over the official classes.

A following proxy is a subclass of the official class, so that editors, mypy and ``isinstance`` see what they know. Each
of its methods runs on the real proxy of the active link. While that link stays the active one, a blocking call costs a
few dictionary steps more than the official one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from hazelcast.errors import IllegalMonitorStateError
from hazelcast.future import Future
from hazelcast.proxy.base import Proxy

from .._connect.link import STARTING, Link, ProxyKey, next_call_number, on_thread
from .._identity import LockRequest
from .._official import lighten
from .._operations.affinity import holder_of
from .._operations.idempotency import READ, Affinity, Idempotency, MethodTraits, Outcome, traits_of
from .._operations.operation import LOSS_ERRORS, Operation, own_timeout_of
from .._operations.operations import Operations
from .._operations.route import Route
from .listeners import Listeners
from .signatures import mirrors
from .structure_creator import StructureCreator

_Method = Callable[..., Any]
# The attributes of a following proxy that are not those of the real one.
_OWN = frozenset({"_owner", "_ops", "_listeners", "_key", "_cached", "_blocking"})
# Classes are hashable, which the type checker does not know of type[Any].
_cache: Callable[[_Method], _Method] = functools.cache
# What a blocking method needs while the link stays the same: that link, its calls in flight, the real proxy, and where
# to see whether the link still is active and whether any thread is in a section.
_Cached = tuple[object, dict[int, Any], Any, Route, dict[int, int]]
_NO_LINK = object()  # is never the active link
_NOT_RUN, _UNKNOWN = Outcome.NOT_RUN, Outcome.UNKNOWN  # saves every call an attribute access


class ProxyOwner(Protocol):
    """What a proxy needs of the source that it comes from, the ``ProxySource``."""

    @property
    def creator(self) -> StructureCreator: ...
    def register(self, proxy: Any) -> None: ...
    def forget(self, key: ProxyKey) -> None: ...
    def create_soon(self, key: ProxyKey) -> None: ...


class FollowingProxy:
    """What every following proxy has: its key, and the real proxy it used last."""

    def __init__(
        self, owner: ProxyOwner, operations: Operations, listeners: Listeners, key: ProxyKey
    ) -> None:
        self._owner = owner
        self._ops = operations
        self._listeners = listeners
        self._key = key
        self._cached = _empty_cache(operations)  # replaced as a whole; a stale one is noticed by its link
        self.name = key.name
        self.service_name = key.service

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be copied or pickled: it belongs to the client of its process; get it by its name"
        )

    def __repr__(self) -> str:
        return f'{type(self).__name__.removeprefix("Blocking")}(name="{self.name}")'


class _FutureProxy(FollowingProxy):
    _blocking_class: type[Any]
    _blocking: Any = None  # made once; two at the same time do no harm

    def blocking(self) -> Any:
        """Returns a version of this proxy with only blocking method calls."""
        if self._blocking is None:
            self._blocking = self._blocking_class(self)
        return self._blocking

    # The official private attributes are those of the real proxy on the active link. An official blocking proxy has
    # none, and hooks like these would slow down each of its calls.

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


class _BlockingProxy(FollowingProxy):
    def __init__(self, wrapped: FollowingProxy) -> None:
        FollowingProxy.__init__(self, wrapped._owner, wrapped._ops, wrapped._listeners, wrapped._key)
        self._wrapped = wrapped

    def blocking(self) -> Any:
        """Returns this proxy."""
        return self


@_cache
def following_class(official: type[Any]) -> type[Any]:
    """The following version of an official proxy class such as ``hazelcast.proxy.map.Map``."""
    blocking_name = f"Blocking{official.__name__}"
    official_blocking = getattr(inspect.getmodule(official), blocking_name)
    blocking = _subclass(official_blocking, _BlockingProxy, official.__name__, _blocking_method)
    following = _subclass(official, _FutureProxy, official.__name__, _future_method)
    following._blocking_class = blocking
    return following


def real_proxy(proxy: Any) -> Any:
    """The real proxy on the active link, obtained as any operation is."""
    proxy._owner.register(proxy)
    return proxy._ops.call(proxy._key, "get", READ, lambda real, link: real)


def clear_cache(proxy: Any) -> None:
    """Have a proxy obtain the real one anew at its next use."""
    proxy.blocking()._cached = _empty_cache(proxy._ops)


def _subclass(
    official: type[Any], base: type[Any], structure: str, make: Callable[[str, MethodTraits], _Method]
) -> type[Any]:
    methods: dict[str, Any] = {"__module__": official.__module__, "__doc__": official.__doc__}
    for name, function in inspect.getmembers(official, inspect.isfunction):
        if name.startswith("_") or name == "blocking":
            continue
        traits = traits_of(structure, name)
        if traits.idempotency is Idempotency.LOCAL:
            method = _local_method(name)
        elif name != "destroy":
            method = make(name, traits)
        elif issubclass(official, Proxy):
            method = _destroy(traits)  # a blocking call in both flavours
        else:
            method = _forget_after(make(name, traits))  # CP objects: an operation like any other
        methods[name] = mirrors(function)(method)
    return type(official.__name__, (base, official), methods)


def _local_method(name: str) -> _Method:
    return lambda self, *args, **kwargs: getattr(real_proxy(self), name)(*args, **kwargs)


def _blocking_method(name: str, traits: MethodTraits) -> _Method:
    if traits.idempotency in (Idempotency.LISTEN, Idempotency.UNLISTEN):
        future_method = _future_method(name, traits)
        return lambda self, *args, **kwargs: future_method(self, *args, **kwargs).result()
    if traits.own_timeout or traits.affinity:
        return lambda self, *args, **kwargs: self._ops.run(_operation(self, name, traits, args, kwargs))
    return _quick_method(name, traits)


def _quick_method(name: str, traits: MethodTraits) -> _Method:
    """A blocking method that describes an ``Operation`` only if its link is not the active one any more, or is lost."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        link, calls, real, route, sections = self._cached
        if route.link is not link or sections:
            result = self._ops.run(_operation(self, name, traits, args, kwargs))
            _fill_cache(self)
            return result
        # Route.begin(), CallInFlight and Operations.run() in short: every call pays for these lines, and calling
        # those methods would cost more than all else here. Counted in first, then checked, as there.
        number, outcome = next_call_number(), _NOT_RUN
        try:
            calls[number] = STARTING
            if route.link is link:
                result = getattr(real, name)(*args, **kwargs)
                outcome = _UNKNOWN
                if isinstance(result, Future):
                    calls[number] = lighten(result)
                    result = result.result()
                return result
            lost = None
        except LOSS_ERRORS as error:
            operation = _operation(self, name, traits, args, kwargs)
            lost = self._ops.policy.classify_loss(operation, link, outcome, error, None)
        finally:
            calls.pop(number, None)
        return self._ops.run(_operation(self, name, traits, args, kwargs), lost)

    return call


def _future_method(name: str, traits: MethodTraits) -> _Method:
    if traits.idempotency is Idempotency.LISTEN:

        def listen(self: Any, *args: Any, **kwargs: Any) -> Future[str]:
            self._owner.register(self)
            added: Future[str] = self._listeners.add(self._key, name, args, kwargs)
            return added

        return listen
    if traits.idempotency is Idempotency.UNLISTEN:
        return lambda self, registration_id: self._listeners.remove(registration_id)
    return lambda self, *args, **kwargs: self._ops.submit(_operation(self, name, traits, args, kwargs))


def _destroy(traits: MethodTraits) -> _Method:
    def call(self: Any) -> bool:
        ops: Operations = self._ops
        with self._owner.creator.destroying(self._key) as wait_for_creations:

            def start(real: Any, link: Link) -> Future[bool]:
                # First: an operation that starts meanwhile must not get the proxy that is being destroyed.
                link.take_back(self._key)

                def destroy() -> bool:
                    wait_for_creations(ops.timeout)
                    return link.client.destroy(real)

                return on_thread(destroy)

            result: bool = ops.call(self._key, "destroy", traits, start)
            self._owner.forget(self._key)
        self._owner.create_soon(self._key)  # the app may have got it anew meanwhile
        return result

    return call


def _forget_after(destroy: _Method) -> _Method:
    def call(self: Any) -> Any:
        result = destroy(self)
        if isinstance(result, Future):
            return result.continue_with(lambda done: destroyed(self, done.result()))
        return destroyed(self, result)

    def destroyed(self: Any, result: Any) -> Any:
        self._owner.forget(self._key)
        return result

    return call


def _operation(
    self: Any, name: str, traits: MethodTraits, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Operation:
    ops: Operations = self._ops
    self._owner.register(self)
    argument, affinity = traits.own_timeout, traits.affinity
    position = _position(type(self), name, argument) if isinstance(argument, str) else 0
    has_request_id = affinity in (Affinity.LOCKS, Affinity.UNLOCKS) and bool(self._key.service)

    def start(real: Any, link: Link) -> Any:
        return getattr(real, name)(*args, **kwargs)

    return ops.operation(
        self._key,
        name,
        traits,
        _with_request_id(name, start) if has_request_id else start,
        own_timeout=own_timeout_of(traits, args, kwargs, position),
        has_request_id=has_request_id,
        holder=holder_of(affinity, self._key, args, kwargs) if affinity else None,
    )


def _with_request_id(name: str, start: _Method) -> _Method:
    request = LockRequest()

    def send(real: Any, link: Link) -> Any:
        is_resent = request.counter is link.client.identity.lock_requests
        sent = link.client.send_lock_request(request, lambda: start(real, link))
        return sent.continue_with(_resent_unlock) if is_resent and name == "unlock" else sent

    return send


def _resent_unlock(unlocked: Future[Any]) -> None:
    """Accept that the lock is not held any more: the first request has released it."""
    if unlocked.is_success() or not isinstance(unlocked.exception(), IllegalMonitorStateError):
        unlocked.result()


@_cache
def _position(proxy_class: type[Any], method: str, argument: str) -> int:
    """Where an argument stands among the positional ones of a method."""
    return list(inspect.signature(getattr(proxy_class, method)).parameters).index(argument) - 1


def _fill_cache(self: Any) -> None:
    """Cache the real proxy on the active link in a blocking proxy."""
    link = self._ops.route.link
    if link is None or (real := link.real(self._key)) is None:
        return
    self._cached = link, link.calls, real, self._ops.route, self._ops.sections
    if link.real(self._key) is not real:
        self._cached = _empty_cache(self._ops)  # it was destroyed meanwhile


def _empty_cache(ops: Operations) -> _Cached:
    return _NO_LINK, {}, None, ops.route, ops.sections
