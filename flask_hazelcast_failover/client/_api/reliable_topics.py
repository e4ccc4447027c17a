"""Listeners of reliable topics, which read a ring buffer from a sequence on."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hazelcast.proxy.base import TopicMessage
from hazelcast.proxy.reliable_topic import ReliableMessageListener

from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client._official import size_of

if TYPE_CHECKING:
    from flask_hazelcast_failover.client._api.listeners import Listeners

__all__ = ["ReliableListener", "is_reliable_listener"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

# The official sequence for "only what is published from now on".
_FROM_NOW_ON = -1


def is_reliable_listener(listener: object) -> bool:
    """Whether the official client takes it as a listener of a reliable topic."""
    return callable(listener) or isinstance(listener, ReliableMessageListener)


class _Reached(NamedTuple):
    """Which data a listener read last, and the sequence there that comes next."""

    data_id: int | None = None
    next: int = _FROM_NOW_ON


class _Progress:
    """How far a user's listener has come, wherever it is registered."""

    def __init__(self) -> None:
        self.at = _Reached()  # replaced as a whole, by the listeners' thread and by whoever publishes a link


class ReliableListener(ReliableMessageListener[Any]):
    """A listener of a reliable topic on one link.

    It goes on after the last message that was delivered where the data are those that the client used
    last, else from now on: a sequence of another cluster means nothing.

    :param listeners: calls the user's listener on their thread
    :param id_: the id that the user knows it by
    :param listener: the user's, an object or a function
    :param link: where this one is registered
    :param before: the one of the same user's listener that was registered before this one
    """

    def __init__(
        self, listeners: Listeners, id_: str, listener: Any, link: Link, before: ReliableListener | None
    ) -> None:
        self._listeners = listeners
        self._id = id_
        self._user = listener if isinstance(listener, ReliableMessageListener) else None
        self._receive = listener.on_message if self._user else listener
        self._link = link
        self._is_first = before is None
        self._progress: _Progress = _Progress() if before is None else before._progress
        self._next = self._progress.at.next if self.goes_on_at(link) else _FROM_NOW_ON
        self._is_over = False  # it has missed a message that it may not miss; of the reactor's thread
        self._arriving = _FROM_NOW_ON  # the sequence of the message to come; of the reactor's thread

    def goes_on_at(self, link: Link) -> bool:
        """Whether the listener goes on after its last message when it is registered on ``link``."""
        at = self._progress.at
        return at.data_id == link.data_id and at.next != _FROM_NOW_ON

    def settle_at(self, link: Link) -> None:
        """The client is on ``link`` now: where the data are others, what was reached before counts no more."""
        if self._progress.at.data_id != link.data_id:
            self._progress.at = _Reached(link.data_id, _FROM_NOW_ON)

    def retrieve_initial_sequence(self) -> int:
        if self._is_first and self._user:
            self._next = self._user.retrieve_initial_sequence()
            self._progress.at = _Reached(self._link.data_id, self._next)
        return self._next

    def store_sequence(self, sequence: int) -> None:
        self._arriving = sequence

    def on_message(self, message: TopicMessage[Any]) -> None:
        if self._is_over:
            return
        sequence = int(self._arriving)
        deliver = partial(self._deliver, sequence, message)
        is_taken = self._listeners.deliver(self._link, self._id, deliver, size_of(self._arriving))
        if not is_taken and self._user and not self._user.is_loss_tolerant():
            self._is_over = True
            _logger.warning(
                "a listener of a reliable topic ends: messages were dropped, and it tolerates no loss"
            )
            self._listeners.call(self._listeners.remove, self._id)

    def is_loss_tolerant(self) -> bool:
        return self._user.is_loss_tolerant() if self._user else False

    def is_terminal(self, error: Exception) -> bool:
        return False  # asked in _deliver, where the user's listener raises

    def on_cancel(self) -> None:
        if self._listeners.ends_with(self._link, self._id):
            self._listeners.call(self.tell_end)

    def tell_end(self) -> None:
        """Tell the user's listener that it will hear nothing more."""
        if self._user is not None and hasattr(self._user, "on_cancel"):
            self._user.on_cancel()

    def _deliver(self, sequence: int, message: TopicMessage[Any]) -> None:
        self._progress.at = _Reached(self._link.data_id, sequence + 1)
        try:
            if self._user:
                self._user.store_sequence(sequence)
            self._receive(message)
        except Exception as error:
            if self._ends_with(error):
                self._listeners.remove(self._id)
            raise

    def _ends_with(self, error: Exception) -> bool:
        try:
            return bool(self._user and self._user.is_terminal(error))
        except Exception:
            return True
