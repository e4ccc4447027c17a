"""Listening to what members tell: as the official methods do it, but once for all listeners that are alike.

What an official method such as ``Map.add_entry_listener`` makes of its arguments, a request and a decoder, is some
twenty objects for each listener. Tens of thousands of listeners have the garbage collector look at them again and
again, which costs more than registering them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any
from weakref import WeakValueDictionary

from hazelcast.future import Future
from hazelcast.protocol.client_message import SIZE_OF_FRAME_LENGTH_AND_FLAGS, InboundMessage
from hazelcast.proxy.ringbuffer import ReadResult

from flask_hazelcast_failover.client._official.listeners.registration import (
    ListenerRegistration,
    Parts,
    SchemaMissing,
)

__all__ = ["Receive", "listen", "measure_reads", "size_of"]

Receive = Callable[[Callable[..., object], object, int], object]
"""Takes an event in: the function that it is for, the event, and the size of its message in bytes."""

# Classes are hashable, which the type checker does not know of type[Any].
_cached: Callable[[Callable[..., Any]], Callable[..., Any]] = cache
# Values of these types are the same when they are equal; floats are not: 0.0 and -0.0.
_PLAIN = (bool, bytes, int, str, type(None))


class _Form:
    """What an official method makes of arguments that are alike, whoever is to be told.

    Events come on the reactor's thread only, one after the other, so it knows whose event this is.
    """

    __slots__ = ("__weakref__", "_places", "_size", "_whose", "parts")

    def __init__(
        self, registering: ListenerRegistration, method: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> None:
        told = {name: partial(self._tell, name) for name, value in arguments.items() if _is_told(name, value)}
        self.parts: Parts = registering.parts_of(method, {**arguments, **told})
        self._places = {name: place for place, name in enumerate(arguments)}
        self._whose: _Handler | None = None  # of the reactor's thread, with the size of the message
        self._size = 0

    def take(self, handler: _Handler, message: InboundMessage) -> None:
        """Decode a message for one of the listeners."""
        self._whose, self._size = handler, _size(message)
        try:
            self.parts.handler(message)
        finally:
            self._whose = None

    def _tell(self, name: str, event: object) -> None:
        handler = self._whose
        assert handler is not None
        by_name = handler.kwargs.get(name)
        function = handler.args[self._places[name]] if by_name is None else by_name
        handler.receive(function, event, self._size)


class _Handler:
    """Takes the messages for one listener."""

    __slots__ = ("_form", "args", "kwargs", "receive")

    def __init__(
        self, form: _Form, args: tuple[Any, ...], kwargs: Mapping[str, Any], receive: Receive
    ) -> None:
        self._form = form
        self.args = args
        self.kwargs = kwargs
        self.receive = receive

    def __call__(self, message: InboundMessage) -> None:
        self._form.take(self, message)


def listen(
    registering: ListenerRegistration,
    real: Any,
    add: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    receive: Receive,
) -> Future[Any]:
    """Register a listener, and have its events given to ``receive``. Raises what the official method raises.

    :param real: the proxy, or the client
    :param add: the name of its method
    """
    method = getattr(real, add)
    names: tuple[str, ...] = _parameters(type(real), add)
    arguments = dict(zip(names, args, strict=False))
    if len(args) > len(names) or not arguments.keys().isdisjoint(kwargs) or not kwargs.keys() <= set(names):
        refused: Future[Any] = method(*args, **kwargs)
        return refused
    arguments.update(kwargs)
    try:
        form = _form(registering, real, method, arguments)
    except SchemaMissing as missing:
        again = partial(listen, registering, real, add, args, kwargs, receive)
        sent: Future[Any] = real._send_schema_and_retry(missing.error, again)
        return sent
    return registering.register(*form.parts[:3], _Handler(form, args, kwargs, receive))


def measure_reads(ringbuffer: Any) -> None:
    """Have the sequences that a ring buffer hands out know the size of what they belong to; see ``size_of``."""
    invoke = ringbuffer._invoke

    def invoke_and_measure(request: Any, *response_handler: Callable[[InboundMessage], Any]) -> Future[Any]:
        def measured(message: InboundMessage) -> Any:
            result = response_handler[0](message)
            if isinstance(result, ReadResult) and result._item_seqs:
                sizes = _item_sizes(message)
                result._item_seqs = [_Sequence(*one) for one in zip(result._item_seqs, sizes, strict=True)]
            return result

        return invoke(request, *(measured for _ in response_handler))  # type: ignore[no-any-return]

    ringbuffer._invoke = invoke_and_measure


def size_of(sequence: int) -> int:
    """How many bytes the message of a reliable topic was that has this sequence, as it came."""
    return sequence.size if isinstance(sequence, _Sequence) else 0


class _Sequence(int):
    size: int

    def __new__(cls, sequence: int, size: int) -> _Sequence:
        known = super().__new__(cls, sequence)
        known.size = size
        return known


def _item_sizes(message: InboundMessage) -> list[int]:
    """The sizes of the items that a ring buffer answers with: one frame each, between two that mark the list."""
    sizes, frame = [], message.start_frame.next.next
    while not frame.is_end_frame():
        sizes.append(len(frame.buf) + SIZE_OF_FRAME_LENGTH_AND_FLAGS)
        frame = frame.next
    return sizes


def _form(
    registering: ListenerRegistration, real: Any, method: Callable[..., Any], arguments: Mapping[str, Any]
) -> _Form:
    """The form of a listener, shared by those that are alike for as long as there is one."""
    alike: list[object] = [method.__name__]
    for name, value in arguments.items():
        if _is_told(name, value):
            alike.append(name)
        elif type(value) in _PLAIN:
            alike.append((name, type(value), value))
        else:
            return _Form(registering, method, arguments)
    forms: WeakValueDictionary[object, _Form] = vars(real).setdefault(
        "forms_of_listeners", WeakValueDictionary()
    )
    known = forms.get(tuple(alike))
    return known or forms.setdefault(tuple(alike), _Form(registering, method, arguments))


@_cached
def _parameters(real: type[Any], method: str) -> tuple[str, ...]:
    """What the arguments of a method are called, in their order."""
    return tuple(inspect.signature(getattr(real, method)).parameters)[1:]


def _is_told(name: str, value: object) -> bool:
    """Whether an argument is a function that is called with events."""
    return (name.endswith("_func") or name == "on_message") and callable(value)


def _size(message: InboundMessage) -> int:
    """How many bytes a message was as it came."""
    size, frame = 0, message.start_frame
    while frame is not None:
        size += len(frame.buf) + SIZE_OF_FRAME_LENGTH_AND_FLAGS
        frame = frame.next
    return size
