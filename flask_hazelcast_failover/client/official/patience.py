"""Members that do not answer hold up nobody who can do without them.

The official client waits for every member when it registers a listener, takes one that is lost
meanwhile for a failure, and leaves a question that went to a frozen member there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hazelcast.errors import ClientOfflineError, HazelcastClientNotActiveError, TargetDisconnectedError
from hazelcast.future import Future
from hazelcast.invocation import Invocation

__all__ = ["ask_any", "register_where_answered"]

# How long a member may keep others waiting, seconds.
_PATIENCE = 0.5
# What a request ends with when its connection is gone.
_LOST = (ClientOfflineError, HazelcastClientNotActiveError, OSError, TargetDisconnectedError)

Timer = Callable[[float, Callable[[], None]], object]


def register_where_answered(
    service: Any,
    official: Callable[..., Future[Any] | None],
    add_timer: Timer,
    id_: str,
    registration: Any,
    connection: Any,
) -> Future[Any] | None:
    """Register a listener with one member; the future waits no longer than most of the others have answered.

    A late answer counts when it comes, and a connection that was lost needs no listener.

    :param service: the official client's listeners
    :param official: the method of theirs that this stands in for
    :param add_timer: calls back on the reactor's thread, where answers come too
    """
    asked = official(id_, registration, connection)
    if asked is None:
        return None
    settled: Future[Any] = Future()

    def answered(future: Future[Any]) -> None:
        error = None if future.is_success() else future.exception()
        if settled.done():
            _take_back_what_came_too_late(service, id_, registration)
        elif error is None or isinstance(error, _LOST):
            settled.set_result(None)
        else:
            settled.set_exception(error, future.traceback())  # type: ignore[arg-type]

    def look() -> None:
        if settled.done():
            return
        connections = service._connection_manager.active_connections
        if 2 * len(registration.connection_registrations) > len(connections):
            settled.set_result(None)
        else:
            add_timer(_PATIENCE, look)

    asked.add_done_callback(answered)
    if not settled.done():
        add_timer(_PATIENCE, look)
    return settled


def _take_back_what_came_too_late(service: Any, id_: str, registration: Any) -> None:
    """A listener that was taken off meanwhile is registered with the member that answers only now."""
    with service._registration_lock:
        if id_ not in service._active_registrations:
            service._active_registrations[id_] = registration
            service.deregister_listener(id_)


def ask_any(
    invoke: Callable[[Invocation], None],
    request: Callable[[], Any],
    add_timer: Timer,
    connections: Callable[[], list[Any]],
) -> Future[Any]:
    """Ask any member what all of them know, and all of them if that one does not answer.

    :param invoke: sends an invocation
    :param request: makes the request, which does no harm if it is done several times
    :param connections: those that are open
    """
    settled: Future[Any] = Future()
    first = Invocation(request())

    def ended(future: Future[Any]) -> None:
        if settled.done():
            return
        if future.is_success():
            settled.set_result(future.result())
        else:
            settled.set_exception(future.exception(), future.traceback())  # type: ignore[arg-type]

    def succeeded(future: Future[Any]) -> None:
        if future.is_success():
            ended(future)

    def ask_all() -> None:
        for connection in [] if settled.done() else connections():
            another = Invocation(request(), connection=connection)
            with contextlib.suppress(Exception):  # it is gone, or will be
                invoke(another)
                another.future.add_done_callback(succeeded)

    invoke(first)
    first.future.add_done_callback(ended)
    if not settled.done():
        add_timer(_PATIENCE, ask_all)
    return settled
