"""Listeners that follow the client: registered anew on each cluster, under the id first given.

What a listener was registered with is kept as a recipe. Events arrive on threads of the official
client and are handed to one thread of our own, which calls the listeners in order and only with
events of the active link in its present epoch. Events in the gap of a switch are lost, and so are those that
a listener does not keep up with.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from hazelcast.errors import OperationTimeoutError
from hazelcast.future import Future, ImmediateExceptionFuture, ImmediateFuture

from flask_hazelcast_failover.client._api.listener_queue import ListenerQueue, ListenerQueues, title_of
from flask_hazelcast_failover.client._api.reliable_topics import ReliableListener, is_reliable_listener
from flask_hazelcast_failover.client._connect.future_batch import Cancelled, FutureBatch
from flask_hazelcast_failover.client._connect.link import Link, ProxyKey
from flask_hazelcast_failover.client._connect.proxy_making import make_proxies
from flask_hazelcast_failover.client._official import LightFuture
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits
from flask_hazelcast_failover.client._operations.operation import LOSS_ERRORS, Operation
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientOfflineException, ClientShutDown, OperationOutcomeUnknown

__all__ = ["Listeners"]

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

_REMOVE = {
    "add_entry_listener": "remove_entry_listener",
    "add_listener": "remove_listener",
    "add_distributed_object_listener": "remove_distributed_object_listener",
}
# What a removal may end with when its link goes, and the listener with it.
_GONE = (*LOSS_ERRORS, ClientOfflineException, OperationOutcomeUnknown)


class _Recipe(NamedTuple):
    """How a listener is registered on any cluster."""

    id: str
    key: ProxyKey
    add: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inbox: ListenerQueue


class _Registration(NamedTuple):
    """A listener on one link; the future gives the id that the official client knows it by."""

    recipe: _Recipe
    official_id: Future[Any]

    @property
    def has_failed(self) -> bool:
        return self.official_id.done() and not self.official_id.is_success()


class _Ear:
    """Takes in what one link says for a listener. One object each: there may be tens of thousands."""

    __slots__ = ("_link", "_listeners", "_recipe")

    def __init__(self, listeners: Listeners, link: Link, recipe: _Recipe) -> None:
        self._listeners = listeners
        self._link = link
        self._recipe = recipe

    def __call__(self, receive: Callable[..., object], event: object, size: int) -> None:
        self._listeners.deliver(self._link, self._recipe.id, partial(receive, event), size)


class Listeners:
    """The listeners of one client.

    :param operations: registers and removes on the active link
    :param inboxes: what waits for each, until the listeners' thread has time
    """

    def __init__(self, operations: Operations, inboxes: ListenerQueues) -> None:
        self._operations = operations
        self._inboxes = inboxes
        self._lock = threading.Lock()
        self._recipes: dict[str, _Recipe] = {}  # under _lock
        self._reliable: dict[str, ReliableListener] = {}  # the one last registered; under _lock

    def add(self, key: ProxyKey, add: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future[str]:
        """Register a listener on the active link, and on each that follows."""
        listener = next((value for value in (*args, *kwargs.values()) if is_reliable_listener(value)), add)
        inbox = self._inboxes.new(f"{title_of(listener)} ({add} of {key.structure} {key.name!r})")
        recipe = _Recipe(str(uuid.uuid4()), key, add, args, kwargs, inbox)
        with self._lock:
            self._recipes[recipe.id] = recipe
        operation = self._registration(recipe)

        def added(future: Future[Any]) -> str:
            if not future.is_success():
                self._forget_failed(recipe.id)
            future.result()
            return recipe.id

        try:
            return self._operations.submit(operation).continue_with(added)
        except BaseException:
            self._forget_failed(recipe.id)
            raise

    def remove(self, registration_id: str) -> Future[bool]:
        """Take a listener off, given by the id first handed out.

        :raises AssertionError: the id is ``None``, as in the official client
        """
        if registration_id is None:
            # In the official client's words.
            raise AssertionError("None user_registration_id is not allowed!")
        if self._operations.route.state is State.CLOSED:
            raise ClientShutDown
        reliable = self._reliable.get(registration_id)
        recipe = self._forget(registration_id)
        if recipe is None:
            return ImmediateFuture(False)
        if reliable is not None:
            _call(reliable.tell_end)  # here and now, as officially: who removes it may count on that
        if self._operations.route.link is None:
            return ImmediateFuture(True)  # it is registered nowhere that counts
        operation = self._operations.operation(
            recipe.key,
            _REMOVE[recipe.add],
            MethodTraits(Idempotency.UNLISTEN),
            lambda real, link: self._take_off(link, registration_id),
        )
        return self._operations.submit(operation).continue_with(_is_removed)

    def forget(self, key: ProxyKey, links: Iterable[Link]) -> None:
        """Carry the listeners of a structure along no more, and take them off: it was destroyed."""
        with self._lock:
            gone = [recipe for recipe in self._recipes.values() if recipe.key == key]
            for recipe in gone:
                del self._recipes[recipe.id]
                self._reliable.pop(recipe.id, None)
            registered = [
                (link, link.registrations.pop(registration.recipe.id))
                for link in links
                for registration in list(link.registrations.values())
                if registration.recipe.key == key
            ]
        for link, registration in registered:
            if key.structure != "ReliableTopic":  # whose listeners end with their proxy
                registration.official_id.continue_with(_take_off_at, link)
        for recipe in gone:
            recipe.inbox.close()

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        for recipe in self._recipes.values():
            recipe.inbox.reset_after_fork()

    def is_empty(self) -> bool:
        """Whether there is nothing to carry along."""
        return not self._recipes

    def has(self, registration_id: str) -> bool:
        """Whether a listener has not been removed."""
        return registration_id in self._recipes

    def ends_with(self, link: Link, registration_id: str) -> bool:
        """Whether a listener that the official client ends on ``link`` is at its end by that.

        It goes on elsewhere when the link was left or lost, and whoever removes it says so himself.
        """
        if not self.has(registration_id):
            return False
        is_closed = self._operations.route.state is State.CLOSED
        return is_closed or (registration_id in link.registrations and link.is_connected())

    def carry_to(self, link: Link, timeout: float, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Register the listeners on a link that is about to become the active one.

        Those of reliable topics that go on where they were come after that: a message that arrived
        too early would be missing.

        :param timeout: seconds without an answer after which it is given up, however long it takes while answers come
        :param is_wanted: whether it still is to become the active one
        :raises TimeoutError: the members have fallen silent
        :raises Cancelled: it is not wanted any more
        """
        answers = FutureBatch(timeout, is_wanted)
        recipes = [recipe for recipe in self._all() if not self._goes_on(recipe, link)]
        registered = []
        try:
            reals = make_proxies(link, {recipe.key for recipe in recipes}, answers)
            for recipe in recipes:
                future = self._carry(recipe, link, reals.get(recipe.key))
                registered.append(future)
                answers.add(future)
            answers.wait()
        except Cancelled:
            self.drop_from(link)
            raise
        for recipe, future in zip(recipes, registered, strict=True):
            if future.is_success():
                continue
            error = future.exception()
            if isinstance(error, (*LOSS_ERRORS, OSError)):
                raise error
            _log_failure(recipe, link, error)

    def complete(self, link: Link) -> None:
        """Register those that ``carry_to`` left out, or that were added meanwhile. Waits for nothing."""
        with self._lock:
            reliable = list(self._reliable.values())
        for listener in reliable:
            listener.settle_at(link)
        for recipe in self._all():
            if recipe.id not in link.registrations:
                self._complete(recipe, link)

    def drop_from(self, link: Link) -> None:
        """Take every listener off a link that was left and stays open. Waits for nothing."""
        with self._lock:
            registrations = list(link.registrations.values())
            link.registrations.clear()
        for registration in registrations:
            _deregister(link, registration)

    def deliver(self, link: Link, id_: str, call: Callable[[], object], size: int) -> bool:
        """Have a listener called in its turn, if by then ``link`` still is the active one and it was not removed.

        :param size: of the event, bytes
        :returns: ``False`` if the event was dropped, since too many wait
        """
        recipe = self._recipes.get(id_)
        if recipe is None:
            return True
        epoch = link.epoch

        def call_if_it_still_counts() -> None:
            if self._operations.route.link is link and link.epoch == epoch and self.has(id_):
                _call(call)

        return recipe.inbox.put(call_if_it_still_counts, size)

    def call(self, receive: Callable[..., object] | None, *event: object) -> None:
        """Have a listener called in its turn, wherever the client is by then."""
        if receive is not None:
            self._inboxes.executor.submit(partial(_call, receive, *event))

    def _complete(self, recipe: _Recipe, link: Link) -> None:
        def completed(done: Future[Any]) -> None:
            if done.is_success() or self._operations.route.link is not link:
                return
            _log_failure(recipe, link, done.exception())
            if isinstance(done.exception(), OperationTimeoutError):
                self._complete(recipe, link)

        self._operations.submit_later(self._registration(recipe)).add_done_callback(completed)

    def _registration(self, recipe: _Recipe) -> Operation:
        return self._operations.operation(
            recipe.key,
            recipe.add,
            MethodTraits(Idempotency.LISTEN),
            lambda real, link: self._register(recipe, real, link),
        )

    def _carry(self, recipe: _Recipe, link: Link, made: Future[Any] | None) -> Future[Any]:
        try:
            real = link.real(recipe.key) if made is None else made.result()
            return self._register(recipe, real, link)
        except Exception as error:
            return ImmediateExceptionFuture(error)

    def _goes_on(self, recipe: _Recipe, link: Link) -> bool:
        before = self._reliable.get(recipe.id)
        return before is not None and before.goes_on_at(link)

    def _all(self) -> list[_Recipe]:
        with self._lock:
            return list(self._recipes.values())

    def _register(self, recipe: _Recipe, real: Any, link: Link) -> Future[Any]:
        with self._lock:
            if recipe.id not in self._recipes:
                return ImmediateFuture(None)  # removed meanwhile
            # A listener that is being added can be carried along at the same time.
            known: _Registration | None = link.registrations.get(recipe.id)
            if known is not None and not known.has_failed:
                return known.official_id
            registration = _Registration(recipe, LightFuture())
            link.registrations[recipe.id] = registration
        try:
            asked = self._ask(recipe, real, link)
            asked.add_done_callback(partial(self._registered, link, registration))
        except BaseException as error:
            registration.official_id.set_exception(error)  # type: ignore[arg-type]
            raise
        return registration.official_id

    def _registered(self, link: Link, registration: _Registration, done: Future[Any]) -> None:
        if registration.official_id.done():
            return
        if not done.is_success():
            error = done.exception()
            assert error is not None
            registration.official_id.set_exception(error, done.traceback())  # type: ignore[arg-type]
            return
        registration.official_id.set_result(done.result())
        if not self.has(registration.recipe.id):
            self._take_off(link, registration.recipe.id)  # removed meanwhile

    def _take_off(self, link: Link, registration_id: str) -> Future[Any]:
        with self._lock:
            registration = link.registrations.pop(registration_id, None)
        return ImmediateFuture(True) if registration is None else _deregister(link, registration)

    def _forget_failed(self, registration_id: str) -> None:
        self._forget(registration_id)
        if (link := self._operations.route.link) is not None:
            with self._lock:
                registration: _Registration | None = link.registrations.get(registration_id)
                if registration is not None and registration.has_failed:
                    del link.registrations[registration_id]

    def _forget(self, registration_id: str) -> _Recipe | None:
        with self._lock:
            self._reliable.pop(registration_id, None)
            recipe = self._recipes.pop(registration_id, None)
        if recipe is not None:
            recipe.inbox.close()
        return recipe

    def _ask(self, recipe: _Recipe, real: Any, link: Link) -> Future[Any]:
        if recipe.key.structure == "ReliableTopic":
            args = [self._reliable_listener(recipe, value, link) for value in recipe.args]
            kwargs = {
                name: self._reliable_listener(recipe, value, link) for name, value in recipe.kwargs.items()
            }
            asked: Future[Any] = getattr(real, recipe.add)(*args, **kwargs)
            return asked
        return link.client.listen(real, recipe.add, recipe.args, recipe.kwargs, _Ear(self, link, recipe))

    def _reliable_listener(self, recipe: _Recipe, listener: Any, link: Link) -> Any:
        if not is_reliable_listener(listener):
            return listener  # the official method says what is wrong with it
        with self._lock:
            before = self._reliable.get(recipe.id)
            following = ReliableListener(self, recipe.id, listener, link, before)
            self._reliable[recipe.id] = following
        return following


def _log_failure(recipe: _Recipe, link: Link, error: BaseException | None) -> None:
    _logger.error(
        "%s of %s %r fails on %s, which gets on without it: %s",
        recipe.add,
        recipe.key.structure,
        recipe.key.name,
        link.label,
        error,
    )


def _call(receive: Callable[..., object], *event: object) -> None:
    try:
        receive(*event)
    except Exception:
        _logger.exception("a listener raised")


def _deregister(link: Link, registration: _Registration) -> Future[Any]:
    recipe = registration.recipe

    def remove(done: Future[Any]) -> Any:
        return getattr(link.real(recipe.key), _REMOVE[recipe.add])(done.result())

    return registration.official_id.continue_with(remove)


def _take_off_at(registered: Future[Any], link: Link) -> Future[bool]:
    return link.client.deregister_listener(registered.result())


def _is_removed(future: Future[Any]) -> bool:
    if not future.is_success() and isinstance(future.exception(), _GONE):
        return True
    return bool(future.result())
