"""The official client by the monotonic clock, so that setting the machine's time neither delays nor ends anything.

It takes the time for its timers, heartbeats, retries, sessions and near caches from the wall clock. Copies of the
methods that do so, which read the monotonic clock, are put on the objects of one client; the official classes and
modules stay as they are for other clients of the process. The wall clock remains in what people are shown:
statistics, the start of a connection, the time at which a message was published.
"""

from __future__ import annotations

import time
from functools import cache
from types import FunctionType, MethodType, ModuleType
from typing import Any

from hazelcast.errors import TransactionError
from hazelcast.proxy.cp.fenced_lock import FencedLock
from hazelcast.proxy.cp.semaphore import SessionAwareSemaphore
from hazelcast.proxy.flake_id_generator import FlakeIdGenerator
from hazelcast.transaction import Transaction

from flask_hazelcast_failover.client._official.versions import UnsupportedVersion, unsupported_version

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

__all__ = [
    "MonotonicNearCache",
    "MonotonicTransaction",
    "SteadyConnection",
    "now",
    "steady_methods",
    "use_monotonic_clock",
    "use_monotonic_timers",
]

now = time.monotonic
"""The clock that everything goes by, seconds since some moment."""


def use_monotonic_clock(client: Any) -> None:
    """Have an official client that is not started yet go by the monotonic clock, all but its connections.

    Those are to be of the class ``SteadyConnection``.
    """
    for path, methods in steady_methods().items():
        holder = client
        for name in path.split("."):
            holder = getattr(holder, name)
        _bind(holder, methods)


def use_monotonic_timers(reactor: Any) -> None:
    """Have a reactor's timers go by the monotonic clock, before the first is set."""
    _bind(reactor._loop, steady_methods()["_reactor._loop"])


@cache
def steady_methods() -> dict[str, dict[str, FunctionType]]:
    """What is put on the parts of a client, by where they are and by name.

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
            _proxy_init={**_proxy_init, FLAKE_ID_GENERATOR_SERVICE: _steady_flake_id_generator()},
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


def _steady_flake_id_generator() -> Any:
    batcher = _subclass(_AutoBatcher, "_assign_new_block", _Block=_subclass(_Block, "__init__", "next_id"))
    return _subclass(FlakeIdGenerator, "__init__", _AutoBatcher=batcher)


def _steady_time() -> ModuleType:
    """The module ``time`` as copied methods see it. A module, since its names are found as fast as those of one."""
    steady: Any = ModuleType("time")
    steady.time = time.monotonic
    steady.__getattr__ = lambda name: getattr(time, name)
    return steady  # type: ignore[no-any-return]


# In whatever module an official method stands, these are its names for the clock.
_CLOCKS = {"time": _steady_time(), "current_time": time.monotonic}


def _copies(owner: type, *methods: str, **others: Any) -> dict[str, FunctionType]:
    """Copies of methods that read the monotonic clock, and see ``others`` in place of their module's names."""
    if missing := [f"{owner.__name__}.{name}" for name in methods if not hasattr(owner, name)]:
        raise UnsupportedVersion(unsupported_version(missing))
    copies = {}
    for name in methods:
        official: FunctionType = getattr(owner, name)
        names = official.__globals__
        seen = {**names, **{clock: _CLOCKS[clock] for clock in _CLOCKS.keys() & names.keys()}, **others}
        # Code of its own: the interpreter keeps in it where the names were found last.
        code = official.__code__.replace()
        copies[name] = FunctionType(code, seen, name, official.__defaults__, official.__closure__)
        copies[name].__kwdefaults__ = official.__kwdefaults__
    return copies


def _subclass(owner: type, *methods: str, **others: Any) -> Any:
    """A class that differs from an official one in its clock only."""
    own = {"__slots__": (), "__module__": owner.__module__, "__qualname__": owner.__qualname__}
    return type(owner)(owner.__name__, (owner,), {**own, **_copies(owner, *methods, **others)})


def _bind(holder: Any, methods: dict[str, FunctionType]) -> None:
    for name, method in methods.items():
        setattr(holder, name, MethodType(method, holder))


class SteadyConnection(AsyncoreConnection):
    """An official connection that keeps the time of its last read by the monotonic clock.

    Whoever writes notes the time of the last write.
    """

    (handle_read,) = _copies(AsyncoreConnection, "handle_read").values()


class MonotonicNearCache(NearCache):
    """An official near cache whose entries expire by the monotonic clock. When it was made is for people."""

    __getitem__, __setitem__ = _copies(
        NearCache,
        "__getitem__",
        "__setitem__",
        DataRecord=_subclass(DataRecord, "__init__", "is_expired"),
    ).values()


class MonotonicTransaction(Transaction):
    """An official transaction whose timeout runs by the monotonic clock."""

    _began = 0.0  # monotonic seconds

    def begin(self) -> None:
        """Begins this transaction."""
        began = now()
        super().begin()
        self._began = began

    def _check_timeout(self) -> None:
        if now() > self._began + self.timeout:
            raise TransactionError("Transaction has timed out.")
