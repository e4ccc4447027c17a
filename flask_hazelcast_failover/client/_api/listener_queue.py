"""The events that wait for each listener, bounded, so that a slow listener costs some memory and nothing else.

Events are queued on threads that must not wait, and listeners are called on one thread of their own. What does not fit
is dropped, the newest events first; the log says so once when it begins and once when it is over.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from ..._threads import in_foreign_code
from .._process.serial_executor import SerialExecutor
from ..options import Options

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

_Listener = TypeVar("_Listener")


class ListenerQueues(NamedTuple):
    """What the queues of all listeners share."""

    options: Options  # with the bounds of each queue
    executor: SerialExecutor  # calls the listeners
    count_dropped: Callable[[], None]  # called for each event that is dropped


class ListenerQueue:
    """The calls that wait for one listener, called by its title in the log. Many threads may put something in."""

    __slots__ = ("_bytes", "_calls", "_dropped", "_is_open", "_lock", "_queues", "_title")

    def __init__(self, queues: ListenerQueues, title: str) -> None:
        self._queues = queues
        self._title = title
        self._lock = threading.Lock()
        # Each call with the size of its event; under _lock, as all that follows.
        self._calls: deque[tuple[int, Callable[[], object]]] = deque()
        self._bytes = 0
        self._dropped = 0  # since the listener last kept up
        self._is_open = True

    def put(self, call: Callable[[], object], size: int = 0) -> bool:
        """Queue a call for the listeners' thread, unless the queue is full.

        An event larger than ``listener_queue_bytes`` is taken while the queue is empty.

        :param size: of the event, bytes
        :returns: ``False`` if it was dropped
        """
        with self._lock:
            if not self._is_open:
                return True  # the listener was removed
            fits = not self._calls or self._allows(len(self._calls) + 1, self._bytes + size)
            if fits:
                self._calls.append((size, call))
                self._bytes += size
            else:
                self._dropped += 1
            is_first = self._dropped == 1
        if fits:
            self._queues.executor.submit(self._call_next)
            return True
        self._queues.count_dropped()
        if is_first:
            options = self._queues.options
            _logger.warning(
                "%s does not keep up: more than %s events or %s bytes would wait for it"
                " (listener_queue_events, listener_queue_bytes), so its newest events are dropped",
                self._title,
                options.listener_queue_events,
                options.listener_queue_bytes,
            )
        return False

    def close(self) -> None:
        """Drop what waits: the listener was removed."""
        with self._lock:
            self._is_open = False
            dropped = self._clear()
        self._log_dropped(dropped)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, with an empty queue."""
        self._lock = threading.Lock()
        self._clear()

    def _allows(self, events: int, size: int) -> bool:
        options = self._queues.options
        return events <= options.listener_queue_events and size <= options.listener_queue_bytes

    def _clear(self) -> int:
        dropped, self._dropped = self._dropped, 0
        self._calls.clear()
        self._bytes = 0
        return dropped

    def _call_next(self) -> None:
        dropped = 0
        with self._lock:
            if not self._calls:
                return  # closed meanwhile
            size, call = self._calls.popleft()
            self._bytes -= size
            # Logged only when half of the queue is free, or one that stays full would be logged at each event.
            if self._dropped and self._allows(2 * len(self._calls), 2 * self._bytes):
                dropped, self._dropped = self._dropped, 0
        self._log_dropped(dropped)
        call()

    def _log_dropped(self, dropped: int) -> None:
        if dropped:
            _logger.warning("%s keeps up again: %s of its events were dropped", self._title, dropped)


class QueuedListeners(Generic[_Listener]):
    """Listeners of one kind, as the log calls it, by registration id, each with its queue."""

    def __init__(self, queues: ListenerQueues, kind: str) -> None:
        self._queues = queues
        self._kind = kind
        self._lock = threading.Lock()
        self._listeners: dict[str, tuple[_Listener, ListenerQueue]] = {}  # under _lock

    def add(self, listener: _Listener, title: str) -> str:
        """Add a listener and return its registration id."""
        id_, queue = str(uuid.uuid4()), ListenerQueue(self._queues, f"{title} ({self._kind})")
        with self._lock:
            self._listeners[id_] = (listener, queue)
        return id_

    def remove(self, registration_id: str) -> bool:
        """Remove a listener; ``False`` if there is none of this id."""
        with self._lock:
            _, queue = self._listeners.pop(registration_id, (None, None))
        if queue is not None:
            queue.close()
        return queue is not None

    def all(self) -> list[tuple[_Listener, ListenerQueue]]:
        """The listeners, with their queues."""
        with self._lock:
            return list(self._listeners.values())

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        for _, queue in self._listeners.values():
            queue.reset_after_fork()


def call_listener(receive: Callable[..., object], *args: object) -> None:
    """Call a listener's function; what it raises is logged."""
    try:
        with in_foreign_code():
            receive(*args)
    except Exception:
        _logger.exception("a listener raised")


def title_of(receive: object) -> str:
    """What to call a listener's function or object in the log."""
    name = getattr(receive, "__qualname__", None) or type(receive).__qualname__
    module = getattr(receive, "__module__", None) or type(receive).__module__
    return f"{module}.{name}"
