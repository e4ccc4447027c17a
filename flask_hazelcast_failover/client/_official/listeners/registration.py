"""Registering listeners with the members: in place of the official way, which is costly and waits for all.

The official client makes six futures for each listener, waits for every member however silent, and takes one that
is lost meanwhile for a failure. An app may have ten thousand listeners, and each switch registers them all.
"""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastError,
    TargetDisconnectedError,
)
from hazelcast.future import Future, ImmediateFuture
from hazelcast.invocation import Invocation

from flask_hazelcast_failover.client._official.listeners.slow_members import SlowMembers
from flask_hazelcast_failover.client._official.transport.futures import LightFuture
from flask_hazelcast_failover.client._official.versions import unsupported_version

try:
    from hazelcast.listener import _EventRegistration, _ListenerRegistration
except ImportError as error:
    raise ImportError(unsupported_version(["_EventRegistration or _ListenerRegistration"])) from error

__all__ = ["ListenerRegistration", "SchemaMissing"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

# What a request ends with when its connection is gone: there, no listener is needed.
_LOST = (ClientOfflineError, HazelcastClientNotActiveError, OSError, TargetDisconnectedError)


class Parts(NamedTuple):
    """What an official method wants to have registered."""

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
    """Registers listeners with every member that is connected, and takes them off.

    :param service: the official client's listeners, whose books are kept
    :param invoke: sends an invocation
    :param patience: how long members may be silent
    """

    def __init__(self, service: Any, invoke: Callable[[Invocation], None], patience: SlowMembers) -> None:
        self._service = service
        self._invoke = invoke
        self._patience = patience
        # Guards where a listener is registered and who is waited for. Not the service's lock: that one is held while
        # requests are sent, and the reactor's thread would wait for it at each answer.
        self.lock = threading.Lock()
        # Which listeners are on their way over which connections; under `lock`.
        self._asked: set[tuple[str, Any]] = set()
        self._numbers = itertools.count(1)
        self._template = Invocation(None)
        # Told of each answer of a member: the listener's id, how it is registered, the connection, and the error if there is
        # one. Called on the reactor's thread; set before the first listener is registered.
        self.when_answered: Callable[[str, Any, Any, BaseException | None], None] = lambda *_: None
        self._only_parts = threading.local()  # `wanted`: the calling thread is in parts_of()

    def parts_of(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> Parts:
        """What an official method would register for these arguments; nothing is sent.

        Raises what the method raises for its arguments.

        :raises SchemaMissing: a schema has to be sent before
        """
        self._only_parts.wanted = True
        try:
            parts: Parts = method(**arguments)
        finally:
            self._only_parts.wanted = False
        return parts

    def official_send_schema(
        self, official: Callable[..., Future[Any]], error: Exception, retry: Any, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Stands in for the official ``send_schema_and_retry``, which would register a listener its own way."""
        if getattr(self._only_parts, "wanted", False):
            raise SchemaMissing(error)
        return official(error, retry, *args, **kwargs)

    def official_register(
        self,
        request: Any,
        decode: Callable[[Any], Any],
        encode_deregister: Callable[[Any], Any],
        handler: Callable[[Any], object],
    ) -> Any:
        """Stands in for the official ``register_listener``."""
        parts = Parts(request, decode, encode_deregister, handler)
        return parts if getattr(self._only_parts, "wanted", False) else self.register(*parts)

    def register(
        self,
        request: Any,
        decode: Callable[[Any], Any],
        encode_deregister: Callable[[Any], Any],
        handler: Callable[[Any], object],
    ) -> Future[str]:
        """Register a listener; the future ends with its id once every member that is not silent has it."""
        id_, service = str(next(self._numbers)), self._service
        registration: Any = _ListenerRegistration(request, decode, encode_deregister, handler)
        with service._registration_lock:
            connections = list(service._connection_manager.active_connections.values())
            asked = _Asked(self, id_, registration, len(connections))
            with self.lock:
                service._active_registrations[id_] = registration
            for connection in connections:
                self._ask(asked, connection)
        if not connections:
            asked.settle()
        elif not asked.future.done():
            self._patience.begin(asked, asked.look)
            if asked.future.done():
                self._patience.end(asked)
        return asked.future

    def register_on(self, id_: str, registration: Any, connection: Any) -> None:
        """Register a listener with a member that was connected after the others."""
        with self.lock:
            has_it = connection in registration.connection_registrations or (id_, connection) in self._asked
        if not has_it:
            self._ask(_AskedLate(self, id_, registration, 1), connection)

    def deregister(self, id_: str | None) -> Future[bool]:
        """Take a listener off; the future ends once every member has answered.

        :raises AssertionError: the id is ``None``
        """
        if id_ is None:
            # In the official client's words.
            raise AssertionError("None user_registration_id is not allowed!")
        service = self._service
        with service._registration_lock, self.lock:
            registration = service._active_registrations.pop(id_, None)
            if registration is None:
                return ImmediateFuture(False)
            known, registration.connection_registrations = registration.connection_registrations, {}
        removed = _Removed(len(known))
        for connection, there in known.items():
            self._take_off(registration, connection, there, removed)
        if not known:
            removed.future.set_result(True)
        return removed.future

    def answered(self, asked: _Asked, connection: Any, there: Any) -> None:
        """A member has registered a listener, which may have been taken off meanwhile."""
        self._patience.heard(connection)
        registration = asked.registration
        with self.lock:
            self._asked.discard((asked.id, connection))
            is_wanted = asked.id in self._service._active_registrations
            if is_wanted:
                registration.connection_registrations[connection] = there
        if not is_wanted:
            self._take_off(registration, connection, there, _Removed(1))
        self.when_answered(asked.id, registration, connection, None)

    def failed(self, asked: _Asked, connection: Any, request: Any, error: BaseException) -> None:
        """A member has refused a listener, or is gone."""
        if connection.live:
            self._patience.heard(connection)
        with self.lock:
            self._asked.discard((asked.id, connection))
        self._service.remove_event_handler(request.get_correlation_id())
        self.when_answered(asked.id, asked.registration, connection, error)

    def ended(self, asked: _Asked) -> None:
        """Nobody waits for this registration any more."""
        self._patience.end(asked)

    def can_do_without(self, asked: _Asked) -> bool:
        """Whether most members have a listener and those that are missing say nothing at all."""
        active = self._service._connection_manager.active_connections
        if 2 * len(asked.registration.connection_registrations) <= len(active):
            return False
        connections = list(active.values())
        with self.lock:
            known = list(asked.registration.connection_registrations)
        return all(self._patience.is_silent(one) for one in connections if one not in known)

    def _ask(self, asked: _Asked, connection: Any) -> None:
        registration = asked.registration
        with self.lock:
            self._asked.add((asked.id, connection))
        request = registration.registration_request.copy()
        future = _Answer(self, asked, connection, request)
        invocation = _Request(self._template, request, connection, future)
        invocation.event_handler = registration.handler
        self._invoke(invocation)

    def _take_off(self, registration: Any, connection: Any, there: Any, removed: _Removed) -> None:
        self._service.remove_event_handler(there.correlation_id)
        request = registration.encode_deregister_request(there.server_registration_id)
        if request is None:  # backup acknowledgements are registered at the client only
            removed.answered(connection, None)
            return
        invocation = _Request(self._template, request, connection, _RemovalAnswer(removed, connection))
        invocation.timeout = sys.maxsize
        self._invoke(invocation)


class _Request(Invocation):
    """An invocation of one connection, without the costly future that each begins with."""

    __slots__ = ()

    def __init__(
        self, template: Invocation, request: Any, connection: Any, future: _Answer | _RemovalAnswer
    ) -> None:
        for name in Invocation.__slots__:
            setattr(self, name, getattr(template, name))
        self.request = request
        self.connection = connection
        self.urgent = True
        self.response_handler = _as_it_came
        self.future = future  # type: ignore[assignment]


class _Asked:
    """One listener on its way to the members."""

    __slots__ = ("_error", "_is_settled", "_missing", "_registering", "future", "id", "registration")

    def __init__(self, registering: ListenerRegistration, id_: str, registration: Any, members: int) -> None:
        self.id = id_
        self.registration = registration
        self.future = LightFuture()
        self._registering = registering
        # Under the lock of `registering`: how many members are missing, the first error, and the end.
        self._missing = members
        self._error: BaseException | None = None
        self._is_settled = False

    def answered(self, connection: Any, error: BaseException | None) -> None:
        """Count one member in."""
        if error is not None and connection.live and not isinstance(error, _LOST):
            _logger.error("a listener cannot be registered with %s: %s", connection.remote_address, error)
        with self._registering.lock:
            if error is not None and not isinstance(error, _LOST):
                self._error = self._error or error
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self.settle()

    def look(self) -> bool:
        """Go on without the members that are silent, if most have answered; else wait."""
        if not self.future.done() and self._registering.can_do_without(self):
            self.settle()
        return self.future.done()

    def settle(self) -> None:
        """Tell who waits how it ended."""
        with self._registering.lock:
            was_settled, self._is_settled = self._is_settled, True
            error = self._error
        if was_settled:
            return
        self._registering.ended(self)
        if error is None:
            self.future.set_result(self.id)
        else:
            self._take_back()
            self.future.set_exception(HazelcastError("Listener cannot be added"))  # in the official words

    def _take_back(self) -> None:
        """A listener that one member refuses is registered with none."""
        self._registering.deregister(self.id)


class _AskedLate(_Asked):
    """One listener on its way to a member that was connected after the others, which keep it whatever comes."""

    __slots__ = ()

    def _take_back(self) -> None:
        pass


class _Answer:
    """What the invocation service takes for the future of a request to register."""

    __slots__ = ("_asked", "_connection", "_is_done", "_registering", "_request")

    def __init__(
        self, registering: ListenerRegistration, asked: _Asked, connection: Any, request: Any
    ) -> None:
        self._registering = registering
        self._asked = asked
        self._connection = connection
        self._request = request
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, response: Any) -> None:
        if self._is_done:
            return
        asked = self._asked
        server_id = asked.registration.decode_register_response(response)
        there: Any = _EventRegistration(server_id, self._request.get_correlation_id())
        self._is_done = True
        self._registering.answered(asked, self._connection, there)
        asked.answered(self._connection, None)

    def set_exception(self, error: BaseException, _traceback: object = None) -> None:
        if not self._is_done:
            self._is_done = True
            self._registering.failed(self._asked, self._connection, self._request, error)
            self._asked.answered(self._connection, error)


class _Removed:
    """One listener on its way off the members."""

    __slots__ = ("_lock", "_missing", "future")

    def __init__(self, members: int) -> None:
        self.future = LightFuture()
        self._lock = threading.Lock()
        self._missing = members  # under _lock

    def answered(self, connection: Any, error: BaseException | None) -> None:
        """Count one member in."""
        if error is not None and not isinstance(error, _LOST):
            _logger.warning("a listener cannot be taken off %s: %s", connection.remote_address, error)
        with self._lock:
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self.future.set_result(True)


class _RemovalAnswer:
    """What the invocation service takes for the future of a request to take a listener off."""

    __slots__ = ("_connection", "_is_done", "_removed")

    def __init__(self, removed: _Removed, connection: Any) -> None:
        self._removed = removed
        self._connection = connection
        self._is_done = False

    def done(self) -> bool:
        return self._is_done

    def set_result(self, _: Any) -> None:
        self._end(None)

    def set_exception(self, error: BaseException, _traceback: object = None) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if not self._is_done:
            self._is_done = True
            self._removed.answered(self._connection, error)


def _as_it_came(response: Any) -> Any:
    return response
