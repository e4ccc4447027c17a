"""Registers listeners with the members, in place of the official ``ListenerService``.

The official one makes six futures per listener, waits for every member even if it is frozen, and fails if a member is
lost meanwhile. An app may have ten thousand listeners, and each switch registers all of them.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastError,
    TargetDisconnectedError,
)
from hazelcast.future import Future, ImmediateFuture
from hazelcast.invocation import Invocation

from ..transport.futures import LightFuture
from ..versions import unsupported_version
from .slow_members import SlowMembers

try:
    from hazelcast.listener import _EventRegistration, _ListenerRegistration
except ImportError as error:
    raise ImportError(unsupported_version(["_EventRegistration or _ListenerRegistration"])) from error

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

# Errors of a request whose connection is gone: no listener is needed there.
_CONNECTION_ERRORS = (ClientOfflineError, HazelcastClientNotActiveError, OSError, TargetDisconnectedError)


class Parts(NamedTuple):
    """What an official method such as ``Map.add_entry_listener`` passes to ``register_listener``."""

    request: Any
    decode: Callable[[Any], Any]
    encode_deregister: Callable[[Any], Any]
    handler: Callable[[Any], object]


class SchemaMissing(Exception):
    """An argument is of a compact type whose schema the members do not have yet."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class ListenerRegistration:
    """Registers listeners with every connected member, and deregisters them.

    :param service: the official ``ListenerService``, whose records of registrations are used
    :param invoke: sends an invocation
    :param slow_members: says which members not to wait for
    """

    def __init__(self, service: Any, invoke: Callable[[Invocation], None], slow_members: SlowMembers) -> None:
        self._service = service
        self._invoke = invoke
        self.slow_members = slow_members
        # Guards the records and the pending requests. Not the service's lock, which is held while requests are
        # sent: the reactor's thread would wait for it at each response.
        self.lock = threading.Lock()
        self._requested: set[tuple[str, Any]] = set()  # (listener id, connection); under `lock`
        self._numbers = itertools.count(1)
        self._template = Invocation(None)
        # Called for each response of a member with the listener's id, its registration, the connection, and the error
        # if there is one; on the reactor's thread. Set before the first listener is registered.
        self.on_response: Callable[[str, Any, Any, BaseException | None], None] = lambda *_: None
        self._capturing = threading.local()  # `active`: the calling thread is in parts_of()

    def parts_of(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> Parts:
        """What an official method would register for these arguments; nothing is sent.

        Raises what the method raises for its arguments.

        :raises SchemaMissing: a schema has to be sent first
        """
        self._capturing.active = True
        try:
            parts: Parts = method(**arguments)
        finally:
            self._capturing.active = False
        return parts

    def send_schema_and_retry(
        self, official: Callable[..., Future[Any]], error: Exception, retry: Any, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Replaces ``CompactSchemaService.send_schema_and_retry``, whose retry would bypass ``parts_of``."""
        if getattr(self._capturing, "active", False):
            raise SchemaMissing(error)
        return official(error, retry, *args, **kwargs)

    def register_listener(self, *parts: Any) -> Any:
        """Replaces ``ListenerService.register_listener``."""
        return Parts(*parts) if getattr(self._capturing, "active", False) else self.register(*parts)

    def register(
        self,
        request: Any,
        decode: Callable[[Any], Any],
        encode_deregister: Callable[[Any], Any],
        handler: Callable[[Any], object],
    ) -> Future[str]:
        """Register a listener; the future completes with its id once every member that is not silent has it."""
        id_, service = str(next(self._numbers)), self._service
        registration: Any = _ListenerRegistration(request, decode, encode_deregister, handler)
        with service._registration_lock:
            connections = list(service._connection_manager.active_connections.values())
            pending = _PendingRegistration(self, id_, registration, len(connections))
            with self.lock:
                service._active_registrations[id_] = registration
            for connection in connections:
                self._send(pending, connection)
        if not connections:
            pending.complete()
        elif not pending.future.done():
            self.slow_members.watch(pending, pending.complete_without_silent)
            if pending.future.done():
                self.slow_members.unwatch(pending)
        return pending.future

    def register_on_connection(self, id_: str, registration: Any, connection: Any) -> None:
        """Replaces ``ListenerService._register_on_connection``, called for members that are connected later."""
        with self.lock:
            has_it = (
                connection in registration.connection_registrations or (id_, connection) in self._requested
            )
        if not has_it:
            self._send(_LateRegistration(self, id_, registration, 1), connection)

    def deregister_listener(self, id_: str | None) -> Future[bool]:
        """Replaces ``ListenerService.deregister_listener``; the future completes once every member has responded.

        :raises AssertionError: the id is ``None``
        """
        if id_ is None:
            # The official message.
            raise AssertionError("None user_registration_id is not allowed!")
        service = self._service
        with service._registration_lock, self.lock:
            registration = service._active_registrations.pop(id_, None)
            if registration is None:
                return ImmediateFuture(False)
            known, registration.connection_registrations = registration.connection_registrations, {}
        removal = _PendingRemoval(len(known))
        for connection, event_registration in known.items():
            self._send_removal(registration, connection, event_registration, removal)
        if not known:
            removal.future.set_result(True)
        return removal.future

    def can_skip_missing(self, pending: _PendingRegistration) -> bool:
        """Whether most members have a listener and all others are silent."""
        active = self._service._connection_manager.active_connections
        if 2 * len(pending.registration.connection_registrations) <= len(active):
            return False
        connections = list(active.values())
        with self.lock:
            known = list(pending.registration.connection_registrations)
        return all(self.slow_members.is_silent(one) for one in connections if one not in known)

    def _send(self, pending: _PendingRegistration, connection: Any) -> None:
        registration = pending.registration
        with self.lock:
            self._requested.add((pending.id, connection))
        request = registration.registration_request.copy()
        on_end = partial(self._on_registered, pending, connection, request)
        decode = registration.decode_register_response
        invocation = _Request(self._template, request, connection, decode, on_end)
        invocation.event_handler = registration.handler
        self._invoke(invocation)

    def _on_registered(
        self, pending: _PendingRegistration, connection: Any, request: Any, server_id: Any, error: Any
    ) -> None:
        """A member has registered a listener, or refused it, or its connection is gone."""
        registration, correlation_id = pending.registration, request.get_correlation_id()
        if error is None or connection.live:
            self.slow_members.on_response(connection)
        is_removed = False  # while it was on its way
        event_registration: Any = None if error is not None else _EventRegistration(server_id, correlation_id)
        with self.lock:
            self._requested.discard((pending.id, connection))
            if error is None:
                is_removed = pending.id not in self._service._active_registrations
                if not is_removed:
                    registration.connection_registrations[connection] = event_registration
        if error is not None:
            self._service.remove_event_handler(correlation_id)
        elif is_removed:
            self._send_removal(registration, connection, event_registration, _PendingRemoval(1))
        self.on_response(pending.id, registration, connection, error)
        pending.on_response(connection, error)

    def _send_removal(
        self, registration: Any, connection: Any, event_registration: Any, removal: _PendingRemoval
    ) -> None:
        self._service.remove_event_handler(event_registration.correlation_id)
        request = registration.encode_deregister_request(event_registration.server_registration_id)
        if request is None:  # a listener for backup acknowledgements is registered at the client only
            removal.on_response(connection, None)
            return
        on_end = partial(_on_removed, removal, connection)
        invocation = _Request(self._template, request, connection, _identity, on_end)
        invocation.timeout = sys.maxsize
        self._invoke(invocation)


class _PendingRegistration:
    """One listener whose registration was sent to the members."""

    __slots__ = ("_error", "_is_complete", "_missing", "_registrations", "future", "id", "registration")

    def __init__(
        self, registrations: ListenerRegistration, id_: str, registration: Any, members: int
    ) -> None:
        self.id = id_
        self.registration = registration
        self.future = LightFuture()
        self._registrations = registrations
        # Under the lock of `registrations`: how many members are missing, the first error, whether it has ended.
        self._missing = members
        self._error: BaseException | None = None
        self._is_complete = False

    def on_response(self, connection: Any, error: BaseException | None) -> None:
        """Count the response of one member."""
        is_refused = error is not None and not isinstance(error, _CONNECTION_ERRORS)
        if is_refused and connection.live:
            _logger.error("a listener cannot be registered with %s: %s", connection.remote_address, error)
        with self._registrations.lock:
            if is_refused:
                self._error = self._error or error
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self.complete()

    def complete_without_silent(self) -> bool:
        """Complete if only silent members are missing, and most have responded; whether it is complete."""
        if not self.future.done() and self._registrations.can_skip_missing(self):
            self.complete()
        return self.future.done()

    def complete(self) -> None:
        """Complete the future."""
        with self._registrations.lock:
            was_complete, self._is_complete = self._is_complete, True
            error = self._error
        if was_complete:
            return
        self._registrations.slow_members.unwatch(self)
        if error is None:
            self.future.set_result(self.id)
        else:
            self._undo()
            self.future.set_exception(HazelcastError("Listener cannot be added"))  # the official message

    def _undo(self) -> None:
        """A listener that one member refuses is registered with none."""
        self._registrations.deregister_listener(self.id)


class _LateRegistration(_PendingRegistration):
    """The registration with a member that was connected later; the others keep the listener if it fails."""

    __slots__ = ()

    def _undo(self) -> None:
        pass


class _PendingRemoval:
    """One listener whose removal was sent to the members."""

    __slots__ = ("_lock", "_missing", "future")

    def __init__(self, members: int) -> None:
        self.future = LightFuture()
        self._lock = threading.Lock()
        self._missing = members  # under _lock

    def on_response(self, connection: Any, error: BaseException | None) -> None:
        """Count the response of one member."""
        if error is not None and not isinstance(error, _CONNECTION_ERRORS):
            _logger.warning("a listener cannot be removed from %s: %s", connection.remote_address, error)
        with self._lock:
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self.future.set_result(True)


class _Request(Invocation):
    """An invocation for one connection, without the costly future that each official one creates.

    :param template: an official invocation with the defaults
    :param decode: makes the result of the response
    :param on_end: called with the result and the error, of which one is ``None``
    """

    __slots__ = ()

    def __init__(
        self,
        template: Invocation,
        request: Any,
        connection: Any,
        decode: Callable[[Any], Any],
        on_end: Callable[[Any, BaseException | None], None],
    ) -> None:
        for name in Invocation.__slots__:
            setattr(self, name, getattr(template, name))
        self.request = request
        self.connection = connection
        self.urgent = True
        self.response_handler = decode
        self.future = _Response(on_end)  # type: ignore[assignment]


class _Response:
    """What the invocation service takes for a future: calls back once, with the result or the error."""

    __slots__ = ("_is_done", "_on_end")

    def __init__(self, on_end: Callable[[Any, BaseException | None], None]) -> None:
        self._on_end = on_end
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, result: Any) -> None:
        self._end(result, None)

    def set_exception(self, error: BaseException, _traceback: object = None) -> None:
        self._end(None, error)

    def _end(self, result: Any, error: BaseException | None) -> None:
        if not self._is_done:
            self._is_done = True
            self._on_end(result, error)


def _on_removed(removal: _PendingRemoval, connection: Any, _: object, error: BaseException | None) -> None:
    removal.on_response(connection, error)


def _identity(response: Any) -> Any:
    return response
