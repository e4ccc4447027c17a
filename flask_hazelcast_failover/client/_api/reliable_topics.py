"""Listeners of reliable topics, which read a ring buffer from a sequence on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from hazelcast.proxy.base import TopicMessage
from hazelcast.proxy.reliable_topic import ReliableMessageListener

from .._connect.link import Link
from .._official import size_of

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

# The official sequence for "only what is published from now on".
_FROM_NOW_ON = -1


def is_reliable_listener(listener: object) -> bool:
    """Whether the official client takes it as a listener of a reliable topic."""
    return callable(listener) or isinstance(listener, ReliableMessageListener)


class Delivery(Protocol):
    """Calls the user's listeners on their thread, and knows which of them were removed: ``Listeners``."""

    def enqueue(self, link: Link, id_: str, call: Callable[[], object], size: int) -> bool: ...
    def call_soon(self, receive: Callable[..., object], *args: object) -> None: ...
    def remove(self, registration_id: str) -> object: ...
    def is_ended_by(self, link: Link, id_: str) -> bool: ...


class _Position(NamedTuple):
    """Which data a listener read last, and the sequence there that comes next."""

    data_id: int | None = None
    next: int = _FROM_NOW_ON


class _Progress:
    """The position of a user's listener, shared by all that are registered for it."""

    def __init__(self) -> None:
        self.position = _Position()  # replaced as a whole, by the listeners' thread and the controller's


class ReliableListener(ReliableMessageListener[Any]):
    """A listener of a reliable topic on one link, for one of the user's: an object or a function.

    On the data that the client used last it continues after the last message, else with the messages published from
    now on: a sequence of another cluster means nothing.

    :param before: the one that was registered last for the same user's listener
    """

    def __init__(
        self, delivery: Delivery, id_: str, listener: Any, link: Link, before: ReliableListener | None
    ) -> None:
        self._delivery = delivery
        self._id = id_
        self._user = listener if isinstance(listener, ReliableMessageListener) else None
        self._receive = listener.on_message if self._user else listener
        self._link = link
        self._is_first = before is None
        self._progress: _Progress = _Progress() if before is None else before._progress
        self._next = self._progress.position.next if self.continues_on(link) else _FROM_NOW_ON
        self._has_ended = False  # a message was dropped, and it tolerates no loss; of the reactor's thread
        self._sequence = _FROM_NOW_ON  # of the next call of on_message; of the reactor's thread

    def continues_on(self, link: Link) -> bool:
        """Whether the listener continues after its last message when it is registered on ``link``."""
        position = self._progress.position
        return position.data_id == link.data_id and position.next != _FROM_NOW_ON

    def switched_to(self, link: Link) -> None:
        """Forget the position if the data of the link that is active now are others."""
        if self._progress.position.data_id != link.data_id:
            self._progress.position = _Position(link.data_id, _FROM_NOW_ON)

    def retrieve_initial_sequence(self) -> int:
        if self._is_first and self._user:
            self._next = self._user.retrieve_initial_sequence()
            self._progress.position = _Position(self._link.data_id, self._next)
        return self._next

    def store_sequence(self, sequence: int) -> None:
        self._sequence = sequence

    def on_message(self, message: TopicMessage[Any]) -> None:
        if self._has_ended:
            return
        deliver = partial(self._deliver, int(self._sequence), message)
        is_queued = self._delivery.enqueue(self._link, self._id, deliver, size_of(self._sequence))
        if not is_queued and self._user and not self._user.is_loss_tolerant():
            self._has_ended = True
            _logger.warning(
                "a listener of a reliable topic ends: messages were dropped, and it tolerates no loss"
            )
            self._delivery.call_soon(self._delivery.remove, self._id)

    def is_loss_tolerant(self) -> bool:
        return self._user.is_loss_tolerant() if self._user else False

    def is_terminal(self, error: Exception) -> bool:
        return False  # _deliver calls the user's is_terminal, on the listeners' thread

    def on_cancel(self) -> None:
        if self._delivery.is_ended_by(self._link, self._id):
            self._delivery.call_soon(self.cancel)

    def cancel(self) -> None:
        """Call ``on_cancel`` of the user's listener, if it has one."""
        if self._user is not None and hasattr(self._user, "on_cancel"):
            self._user.on_cancel()

    def _deliver(self, sequence: int, message: TopicMessage[Any]) -> None:
        self._progress.position = _Position(self._link.data_id, sequence + 1)
        try:
            if self._user:
                self._user.store_sequence(sequence)
            self._receive(message)
        except Exception as error:
            if self._is_terminal(error):
                self._delivery.remove(self._id)
            raise

    def _is_terminal(self, error: Exception) -> bool:
        try:
            return bool(self._user and self._user.is_terminal(error))
        except Exception:
            return True
