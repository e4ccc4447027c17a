"""The monotonic clock for an official client, so that a change of the system time neither delays nor ends anything.

The official client takes the time for timers, heartbeats, retries, sessions and near caches from the wall clock. Here
the methods concerned are copied, the copies read the monotonic clock, and they are bound to the objects of one client;
the official classes stay as they are for other clients of the process. Times that people read (statistics, the start
of a connection, the publication of a message) remain those of the wall clock.
"""

from __future__ import annotations

import time
from functools import cache
from operator import attrgetter
from types import FunctionType, MethodType, ModuleType
from typing import Any

from hazelcast.errors import TransactionError
from hazelcast.proxy.cp.fenced_lock import FencedLock
from hazelcast.proxy.cp.semaphore import SessionAwareSemaphore
from hazelcast.proxy.flake_id_generator import FlakeIdGenerator
from hazelcast.transaction import Transaction

from ..versions import UnsupportedVersion, unsupported_version

try:
    from hazelcast.connection import _HeartbeatManager, _WaitStrategy
    from hazelcast.cp import CPProxyManager, ProxySessionManager, _SessionState
    from hazelcast.invocation import InvocationService
    from hazelcast.near_cache import DataRecord, NearCache
    from hazelcast.proxy import FLAKE_ID_GENERATOR_SERVICE, ProxyManager, _proxy_init
    from hazelcast.proxy.flake_id_generator import _AutoBatcher, _Block
    from hazelcast.reactor import AsyncoreConnection, _AbstractLoop
except ImportError as error:
    raise ImportError(unsupported_version([str(error)])) from error


def now() -> float:
    """The monotonic clock, seconds."""
    return time.monotonic()


def use_monotonic_clock(client: Any) -> None:
    """Switch an official client that is not started yet to the monotonic clock.

    Its connections have to be of the class ``MonotonicConnection``.
    """
    for path, methods in monotonic_methods().items():
        bind_methods(attrgetter(path)(client), methods)


def bind_methods(part: Any, methods: dict[str, FunctionType]) -> None:
    """Replace methods of one object."""
    for name, method in methods.items():
        setattr(part, name, MethodType(method, part))


@cache
def monotonic_methods() -> dict[str, dict[str, FunctionType]]:
    """The methods to replace: path to a part of the client -> name of its method -> copy.

    :raises UnsupportedVersion: the official classes lack a method
    """
    return {
        "_reactor._loop": _copies(_AbstractLoop, "add_timer", "_check_timers"),
        "_connection_manager._wait_strategy": _copies(_WaitStrategy, "reset", "sleep"),
        "_connection_manager._heartbeat_manager": _copies(_HeartbeatManager, "start"),
        "_invocation_service": _copies(
            InvocationService, "invoke", "_notify", "_notify_error", "_start_clean_resources_timer"
        ),
        "_proxy_manager": _copies(
            ProxyManager,
            "_create_proxy",
            _proxy_init={**_proxy_init, FLAKE_ID_GENERATOR_SERVICE: _monotonic_flake_id_generator()},
        ),
        "_proxy_session_manager": _copies(
            ProxySessionManager,
            "_do_create_new_session",
            _SessionState=_subclass(_SessionState, "__init__", "is_valid"),
        ),
        "_cp_subsystem._proxy_manager": _copies(
            CPProxyManager,
            "_create_fenced_lock",
            "_create_semaphore",
            FencedLock=_subclass(FencedLock, "_do_try_lock"),
            SessionAwareSemaphore=_subclass(SessionAwareSemaphore, "_do_try_acquire"),
        ),
    }


def _monotonic_flake_id_generator() -> Any:
    batcher = _subclass(_AutoBatcher, "_assign_new_block", _Block=_subclass(_Block, "__init__", "next_id"))
    return _subclass(FlakeIdGenerator, "__init__", _AutoBatcher=batcher)


def _monotonic_time() -> ModuleType:
    """The module ``time`` as the copies see it: a real module, whose names the interpreter finds fastest."""
    module: Any = ModuleType("time")
    module.time = now
    module.__getattr__ = lambda name: getattr(time, name)
    return module  # type: ignore[no-any-return]


# The names of the clock in the official modules.
_CLOCKS = {"time": _monotonic_time(), "current_time": now}


def _copies(owner: type, *methods: str, **replaced: Any) -> dict[str, FunctionType]:
    """Copies of methods that read the monotonic clock, and see ``replaced`` instead of their module's globals."""
    if missing := [f"{owner.__name__}.{name}" for name in methods if not hasattr(owner, name)]:
        raise UnsupportedVersion(unsupported_version(missing))
    copies = {}
    for name in methods:
        official: FunctionType = getattr(owner, name)
        module = official.__globals__
        seen = {**module, **{name: _CLOCKS[name] for name in _CLOCKS.keys() & module.keys()}, **replaced}
        # The code is copied too, because the interpreter caches in it where globals were found.
        code = official.__code__.replace()
        copies[name] = FunctionType(code, seen, name, official.__defaults__, official.__closure__)
        copies[name].__kwdefaults__ = official.__kwdefaults__
    return copies


def _subclass(owner: type, *methods: str, **replaced: Any) -> Any:
    """A class that differs from an official one in its clock only."""
    body = {"__slots__": (), "__module__": owner.__module__, "__qualname__": owner.__qualname__}
    return type(owner)(owner.__name__, (owner,), {**body, **_copies(owner, *methods, **replaced)})


class MonotonicConnection(AsyncoreConnection):
    """An official connection that takes the time of its last read from the monotonic clock.

    Subclasses that write have to do the same for the last write.
    """

    (handle_read,) = _copies(AsyncoreConnection, "handle_read").values()


class MonotonicNearCache(NearCache):
    """An official near cache whose entries expire by the monotonic clock."""

    __getitem__, __setitem__ = _copies(
        NearCache,
        "__getitem__",
        "__setitem__",
        DataRecord=_subclass(DataRecord, "__init__", "is_expired"),
    ).values()


class MonotonicTransaction(Transaction):
    """An official transaction whose timeout is measured by the monotonic clock."""

    _began = 0.0  # monotonic seconds

    def begin(self) -> None:
        """Begins this transaction."""
        began = now()
        super().begin()
        self._began = began

    def _check_timeout(self) -> None:
        if now() > self._began + self.timeout:
            raise TransactionError("Transaction has timed out.")
