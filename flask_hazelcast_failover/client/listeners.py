"""Listeners that follow the client: registered anew on each cluster, under the id first given.

What a listener was registered with is kept as a recipe. Events arrive on threads of the official
client and are handed to one thread of our own, which calls the listeners in order and only with
events of the active link. Events in the gap of a switch are lost.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from hazelcast.future import Future, ImmediateFuture
from hazelcast.proxy.base import TopicMessage
from hazelcast.proxy.reliable_topic import ReliableMessageListener

from flask_hazelcast_failover.client.link import Link, ProxyKey
from flask_hazelcast_failover.client.methods import Kind, Method
from flask_hazelcast_failover.client.operations import Operations
from flask_hazelcast_failover.client.runner import Runner
from flask_hazelcast_failover.client.waiting import wait_for

__all__ = ["Listeners"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

_REMOVE = {
    "add_entry_listener": "remove_entry_listener",
    "add_listener": "remove_listener",
    "add_distributed_object_listener": "remove_distributed_object_listener",
}
# The official sequence for "only what is published from now on".
_FROM_NOW_ON = -1


class _Recipe(NamedTuple):
    """How a listener is registered on any cluster."""

    id: str
    key: ProxyKey
    add: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Listeners:
    """The listeners of one client.

    :param operations: registers and removes on the active link
    :param runner: the thread that listeners are called on
    """

    def __init__(self, operations: Operations, runner: Runner) -> None:
        self._operations = operations
        self._runner = runner
        self._lock = threading.Lock()
        self._recipes: dict[str, _Recipe] = {}  # under _lock
        self._reliable: dict[str, _ReliableListener] = {}  # the one last registered; under _lock

    def add(self, key: ProxyKey, add: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[str]:
        """Register a listener on the active link, and on each that follows."""
        recipe = _Recipe(str(uuid.uuid4()), key, add, args, kwargs)
        with self._lock:
            self._recipes[recipe.id] = recipe
        operation = self._operations.operation(
            key, add, Method(Kind.LISTEN), lambda real, link: self._register(recipe, real, link)
        )

        def added(future: Future[Any]) -> str:
            if not future.is_success():
                self._forget(recipe.id)
            future.result()
            return recipe.id

        try:
            return self._operations.submit(operation).continue_with(added)
        except BaseException:
            self._forget(recipe.id)
            raise

    def remove(self, registration_id: str) -> Future[bool]:
        """Take a listener off, given by the id first handed out."""
        recipe = self._forget(registration_id)
        if recipe is None:
            return ImmediateFuture(False)
        operation = self._operations.operation(
            recipe.key,
            _REMOVE[recipe.add],
            Method(Kind.UNLISTEN),
            lambda real, link: self._take_off(recipe, real, link),
        )
        return self._operations.submit(operation)

    def renew(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()

    def is_empty(self) -> bool:
        """Whether there is nothing to carry along."""
        return not self._recipes

    def carry_to(self, link: Link, timeout: float) -> None:
        """Register every listener on a link that is about to become the active one.

        :param timeout: seconds to wait for the members
        :raises TimeoutError: they did not answer
        """
        with self._lock:
            recipes = list(self._recipes.values())
        deadline = time.monotonic() + timeout
        keys = {recipe.key for recipe in recipes}
        wait_for([link.obtain(key) for key in keys if link.real(key) is None], deadline)
        wait_for([self._register(recipe, link.real(recipe.key), link) for recipe in recipes], deadline)

    def drop_from(self, link: Link) -> None:
        """Take every listener off a link that was left and stays open. Waits for nothing."""
        with self._lock:
            recipes = list(self._recipes.values())
        for recipe in recipes:
            self._take_off(recipe, link.real(recipe.key), link)

    def deliver(self, link: Link, receive: Callable[..., object], *event: object) -> None:
        """Have a listener called in its turn, if ``link`` still is the active one by then."""

        def call() -> None:
            if self._operations.route.link is not link:
                return
            try:
                receive(*event)
            except Exception:
                _logger.exception("a listener raised")

        self._runner.submit(call)

    def _register(self, recipe: _Recipe, real: Any, link: Link) -> Future[Any]:
        with self._lock:
            if recipe.id not in self._recipes:
                return ImmediateFuture(None)  # removed meanwhile
            # A listener that is being added can be carried along at the same time.
            registered: Future[Any] | None = link.registrations.get(recipe.id)
            if registered is not None and (not registered.done() or registered.is_success()):
                return registered
            promise: Future[Any] = Future()
            link.registrations[recipe.id] = promise
        try:
            args = tuple(self._gated(recipe, value, link) for value in recipe.args)
            kwargs = {name: self._gated(recipe, value, link) for name, value in recipe.kwargs.items()}
            getattr(real, recipe.add)(*args, **kwargs).add_done_callback(lambda done: _copy(done, promise))
        except BaseException as error:
            promise.set_exception(error)  # type: ignore[arg-type]
            raise
        return promise

    def _take_off(self, recipe: _Recipe, real: Any, link: Link) -> Future[Any]:
        registered = link.registrations.pop(recipe.id, None)
        if registered is None or real is None:
            return ImmediateFuture(True)
        return registered.continue_with(lambda done: getattr(real, _REMOVE[recipe.add])(done.result()))

    def _forget(self, registration_id: str) -> _Recipe | None:
        with self._lock:
            self._reliable.pop(registration_id, None)
            return self._recipes.pop(registration_id, None)

    def _gated(self, recipe: _Recipe, value: Any, link: Link) -> Any:
        if recipe.key.structure == "ReliableTopic":
            return self._reliable_listener(recipe, value, link)
        if not callable(value) or isinstance(value, type):
            return value
        return lambda *event: self.deliver(link, value, *event)

    def _reliable_listener(self, recipe: _Recipe, listener: Any, link: Link) -> Any:
        if not callable(listener) and not isinstance(listener, ReliableMessageListener):
            return listener  # the official method says what is wrong with it
        with self._lock:
            before = self._reliable.get(recipe.id)
            following = _ReliableListener(self, recipe.id, listener, link, before)
            self._reliable[recipe.id] = following
        return following


class _ReliableListener(ReliableMessageListener[Any]):
    """A listener of a reliable topic on one link.

    It goes on after the last message where the data are the same, else from now on: a sequence of
    another cluster means nothing.
    """

    def __init__(
        self, listeners: Listeners, id_: str, listener: Any, link: Link, before: _ReliableListener | None
    ) -> None:
        self._listeners = listeners
        self._id = id_
        self._user = listener if isinstance(listener, ReliableMessageListener) else None
        self._receive = listener.on_message if self._user else listener
        self._link = link
        self._before = before if before is not None and before._link.data == link.data else None
        self._is_first = before is None
        self._sequence: int | None = None  # of the last message; written by the reactor's thread

    def on_message(self, message: TopicMessage[Any]) -> None:
        self._listeners.deliver(self._link, self._guarded, message)

    def retrieve_initial_sequence(self) -> int:
        if self._is_first and self._user:
            return self._user.retrieve_initial_sequence()
        if self._before is not None and self._before._sequence is not None:
            return self._before._sequence + 1
        return _FROM_NOW_ON

    def store_sequence(self, sequence: int) -> None:
        self._sequence = sequence
        if self._user:
            self._user.store_sequence(sequence)

    def is_loss_tolerant(self) -> bool:
        return self._user.is_loss_tolerant() if self._user else False

    def is_terminal(self, error: Exception) -> bool:
        return self._user.is_terminal(error) if self._user else False

    def _guarded(self, message: TopicMessage[Any]) -> None:
        try:
            self._receive(message)
        except Exception as error:
            if self.is_terminal(error):
                self._listeners.remove(self._id)
            raise


def _copy(done: Future[Any], promise: Future[Any]) -> None:
    if done.is_success():
        promise.set_result(done.result())
    else:
        error = done.exception()
        assert error is not None
        promise.set_exception(error, done.traceback())
