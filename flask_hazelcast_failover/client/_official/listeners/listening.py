"""Adding listeners through the official methods, with one request and decoder for all listeners that are alike.

An official method such as ``Map.add_entry_listener`` makes some twenty objects for each listener. With tens of
thousands of listeners the garbage collector traverses them again and again, which costs more than the registration.
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

from .registration import ListenerRegistration, Parts, SchemaMissing

Receive = Callable[[Callable[..., object], object, int], object]
"""Receives an event: the callback that it is for, the event, and the size of its message in bytes."""

# Classes are hashable, which mypy does not know of type[Any].
_cached: Callable[[Callable[..., Any]], Callable[..., Any]] = cache
# Types whose equal values are interchangeable; floats are not: 0.0 and -0.0.
_PLAIN = (bool, bytes, int, str, type(None))


class _Template:
    """What an official method makes of its arguments, without the callbacks: shared by listeners that are alike.

    Events arrive on the reactor's thread only, one after the other, so that it can keep the current listener.
    """

    __slots__ = ("__weakref__", "_current", "_positions", "_size", "parts")

    def __init__(
        self, registrations: ListenerRegistration, method: Callable[..., Any], arguments: Mapping[str, Any]
    ) -> None:
        callbacks = {
            name: partial(self._dispatch, name)
            for name, value in arguments.items()
            if _is_callback(name, value)
        }
        self.parts: Parts = registrations.parts_of(method, {**arguments, **callbacks})
        self._positions = {name: position for position, name in enumerate(arguments)}
        self._current: _Handler | None = None  # of the reactor's thread, like the size of the message
        self._size = 0

    def handle(self, handler: _Handler, message: InboundMessage) -> None:
        """Decode a message for one of the listeners."""
        self._current, self._size = handler, _size(message)
        try:
            self.parts.handler(message)
        finally:
            self._current = None

    def _dispatch(self, name: str, event: object) -> None:
        handler = self._current
        assert handler is not None
        by_name = handler.kwargs.get(name)
        callback = handler.args[self._positions[name]] if by_name is None else by_name
        handler.receive(callback, event, self._size)


class _Handler:
    """Receives the messages for one listener."""

    __slots__ = ("_template", "args", "kwargs", "receive")

    def __init__(
        self, template: _Template, args: tuple[Any, ...], kwargs: Mapping[str, Any], receive: Receive
    ) -> None:
        self._template = template
        self.args = args
        self.kwargs = kwargs
        self.receive = receive

    def __call__(self, message: InboundMessage) -> None:
        self._template.handle(self, message)


def listen(
    registrations: ListenerRegistration,
    real: Any,
    add: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    receive: Receive,
) -> Future[Any]:
    """Register a listener whose events go to ``receive``. Raises what the official method raises.

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
        template = _template_for(registrations, real, method, arguments)
    except SchemaMissing as missing:
        retry = partial(listen, registrations, real, add, args, kwargs, receive)
        sent: Future[Any] = real._send_schema_and_retry(missing.error, retry)
        return sent
    return registrations.register(*template.parts[:3], _Handler(template, args, kwargs, receive))


def measure_reads(ringbuffer: Any) -> None:
    """Make the sequences that a ring buffer returns know the size of their items; see ``size_of``."""
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
    """The size of the reliable topic's message with this sequence, in bytes as received."""
    return sequence.size if isinstance(sequence, _Sequence) else 0


class _Sequence(int):
    size: int

    def __new__(cls, sequence: int, size: int) -> _Sequence:
        self = super().__new__(cls, sequence)
        self.size = size
        return self


def _item_sizes(message: InboundMessage) -> list[int]:
    """The sizes of the items in a ring buffer's response: one frame each, between two that delimit the list."""
    sizes, frame = [], message.start_frame.next.next
    while not frame.is_end_frame():
        sizes.append(len(frame.buf) + SIZE_OF_FRAME_LENGTH_AND_FLAGS)
        frame = frame.next
    return sizes


def _template_for(
    registrations: ListenerRegistration, real: Any, method: Callable[..., Any], arguments: Mapping[str, Any]
) -> _Template:
    """The template for these arguments, shared for as long as a listener uses it."""
    key_parts: list[object] = [method.__name__]
    for name, value in arguments.items():
        if _is_callback(name, value):
            key_parts.append(name)
        elif type(value) in _PLAIN:
            key_parts.append((name, type(value), value))
        else:
            return _Template(registrations, method, arguments)
    key = tuple(key_parts)
    templates: WeakValueDictionary[object, _Template] = vars(real).setdefault(
        "listener_templates", WeakValueDictionary()
    )
    return templates.get(key) or templates.setdefault(key, _Template(registrations, method, arguments))


@_cached
def _parameters(real: type[Any], method: str) -> tuple[str, ...]:
    """The names of a method's parameters, in order."""
    return tuple(inspect.signature(getattr(real, method)).parameters)[1:]


def _is_callback(name: str, value: object) -> bool:
    """Whether an argument is a function that is called with events."""
    return (name.endswith("_func") or name == "on_message") and callable(value)


def _size(message: InboundMessage) -> int:
    """The size of a message as received, bytes."""
    size, frame = 0, message.start_frame
    while frame is not None:
        size += len(frame.buf) + SIZE_OF_FRAME_LENGTH_AND_FLAGS
        frame = frame.next
    return size
