"""What waits for a listener: bounded for each, so that a slow one costs some memory and no more.

Events are taken in on threads that must not wait and given out on the listeners' thread. What a listener cannot take in
time is dropped, its newest events first, which is told once when it begins and once when it is over.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor
from flask_hazelcast_failover.client.options import Options

__all__ = ["ListenerQueue", "ListenerQueues", "title_of"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")


class ListenerQueues:
    """Makes an inbox for each listener.

    :param options: say how much may wait for each
    :param executor: the thread that listeners are called on
    :param count_dropped: called for each event that is dropped
    """

    def __init__(self, options: Options, executor: SerialExecutor, count_dropped: Callable[[], None]) -> None:
        self.executor = executor
        self.most_events = options.listener_queue_events
        self.most_bytes = options.listener_queue_bytes
        self.count_dropped = count_dropped

    def new(self, title: str) -> ListenerQueue:
        """An inbox for one listener.

        :param title: what to call the listener in the log
        """
        return ListenerQueue(self, title)


class _Waiting(NamedTuple):
    size: int
    call: Callable[[], object]


class ListenerQueue:
    """What waits for one listener. Many threads may put something in."""

    __slots__ = ("_bytes", "_dropped", "_inboxes", "_is_open", "_lock", "_title", "_waiting")

    def __init__(self, inboxes: ListenerQueues, title: str) -> None:
        self._inboxes = inboxes
        self._title = title
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()  # under _lock, as all that follows
        self._bytes = 0
        self._dropped = 0  # since the last time that all went in
        self._is_open = True

    def put(self, call: Callable[[], object], size: int = 0) -> bool:
        """Have ``call`` done in its turn on the listeners' thread, unless too much waits already.

        An event that is larger than what may wait goes in where nothing else waits.

        :param size: of the event, bytes
        :returns: ``False`` if it was dropped
        """
        with self._lock:
            if not self._is_open:
                return True  # nobody misses it
            fits = not self._waiting or self._has_room_for(size)
            if fits:
                self._waiting.append(_Waiting(size, call))
                self._bytes += size
            else:
                self._dropped += 1
            is_first = not fits and self._dropped == 1
        if fits:
            self._inboxes.executor.submit(self._give_out)
            return True
        self._inboxes.count_dropped()
        if is_first:
            _logger.warning(
                "%s does not keep up: more than %s events or %s bytes would wait for it"
                " (listener_queue_events, listener_queue_bytes), so its newest events are dropped",
                self._title,
                self._inboxes.most_events,
                self._inboxes.most_bytes,
            )
        return False

    def close(self) -> None:
        """The listener was removed: let go of what waits for it."""
        with self._lock:
            self._is_open = False
            dropped = self._clear()
        self._tell_end(dropped)

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, where nothing waits."""
        self._lock = threading.Lock()
        self._clear()

    def _has_room_for(self, size: int) -> bool:
        inboxes = self._inboxes
        return len(self._waiting) < inboxes.most_events and self._bytes + size <= inboxes.most_bytes

    def _clear(self) -> int:
        dropped, self._dropped = self._dropped, 0
        self._waiting.clear()
        self._bytes = 0
        return dropped

    def _give_out(self) -> None:
        dropped = 0
        with self._lock:
            if not self._waiting:
                return  # it was closed meanwhile
            size, call = self._waiting.popleft()
            self._bytes -= size
            # Told as over only when half of it is free, or a queue that stays full would be told of at each event.
            if self._dropped and self._is_half_empty():
                dropped, self._dropped = self._dropped, 0
        self._tell_end(dropped)
        call()

    def _is_half_empty(self) -> bool:
        inboxes = self._inboxes
        return 2 * len(self._waiting) <= inboxes.most_events and 2 * self._bytes <= inboxes.most_bytes

    def _tell_end(self, dropped: int) -> None:
        if dropped:
            _logger.warning("%s keeps up again: %s of its events were dropped", self._title, dropped)


def title_of(receive: object) -> str:
    """What to call a listener's function or object in the log."""
    name = getattr(receive, "__qualname__", None) or type(receive).__qualname__
    module = getattr(receive, "__module__", None) or type(receive).__module__
    return f"{module}.{name}"
