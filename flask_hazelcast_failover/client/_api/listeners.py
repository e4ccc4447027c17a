"""Listeners that follow the client: registered anew on each cluster, under the id first given.

Events arrive on threads of the official client. They are queued for one thread of ours, which calls the listeners in
order, and only with events of the active link in its present epoch. Events are lost while a switch is under way, and
when a listener does not keep up.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hazelcast.errors import OperationTimeoutError
from hazelcast.future import Future, ImmediateExceptionFuture, ImmediateFuture

from ...errors import ClientOfflineException, ClientShutDown, OperationOutcomeUnknown
from .._connect.future_batch import Cancelled, FutureBatch
from .._connect.link import Link, ProxyKey
from .._connect.proxy_making import make_proxies
from .._operations.idempotency import Idempotency, MethodTraits
from .._operations.operation import LOSS_ERRORS, Operation
from .._operations.operations import Operations
from ..status import State
from .listener_queue import ListenerQueue, ListenerQueues, call_listener, title_of
from .listener_registrations import ListenerRegistrations, ListenerSpec
from .reliable_topics import ReliableListener, is_reliable_listener

_logger = logging.getLogger("flask_hazelcast_failover.listeners")

# What a removal may fail with when its link, and so the registration, is gone.
_LINK_GONE = (*LOSS_ERRORS, ClientOfflineException, OperationOutcomeUnknown)


class Listeners:
    """The listeners of one client."""

    def __init__(self, operations: Operations, queues: ListenerQueues) -> None:
        self._operations = operations
        self._queues = queues
        self._registrations = ListenerRegistrations(self._request)
        self._lock = threading.Lock()
        # The one registered last, for each listener of a reliable topic; under _lock.
        self._reliable: dict[str, ReliableListener] = {}

    def add(
        self, key: ProxyKey, add_method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[str]:
        """Register a listener on the active link, and on each that follows."""
        listener = next((one for one in (*args, *kwargs.values()) if is_reliable_listener(one)), add_method)
        title = f"{title_of(listener)} ({add_method} of {key.structure} {key.name!r})"
        queue = ListenerQueue(self._queues, title)
        spec = ListenerSpec(str(uuid.uuid4()), key, add_method, args, kwargs, queue)
        self._registrations.add(spec)

        def added(future: Future[Any]) -> str:
            if not future.is_success():
                self._remove_failed(spec.id)
            future.result()
            return spec.id

        try:
            return self._operations.submit(self._register_operation(spec)).continue_with(added)
        except BaseException:
            self._remove_failed(spec.id)
            raise

    def remove(self, registration_id: str) -> Future[bool]:
        """Remove a listener, given by the id that ``add`` returned.

        :raises AssertionError: the id is ``None``, as in the official client
        """
        if registration_id is None:
            raise AssertionError("None user_registration_id is not allowed!")  # the official client's words
        if self._operations.route.state is State.CLOSED:
            raise ClientShutDown
        spec = self._registrations.remove(registration_id)
        reliable = self._pop_reliable(registration_id)
        if spec is None:
            return ImmediateFuture(False)
        if reliable is not None:
            call_listener(reliable.cancel)  # before remove() returns, as in the official client
        if self._operations.route.link is None:
            return ImmediateFuture(True)  # registered on no active link

        def start(_: Any, link: Link) -> Future[Any]:
            return self._registrations.deregister(link, registration_id)

        traits = MethodTraits(Idempotency.UNLISTEN)
        operation = self._operations.operation(spec.key, spec.remove_method, traits, start)
        return self._operations.submit(operation).continue_with(_is_removed)

    def forget(self, key: ProxyKey, links: Iterable[Link]) -> None:
        """Remove the listeners of a structure that was destroyed."""
        for spec in self._registrations.remove_structure(key, links):
            self._pop_reliable(spec.id)

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        self._registrations.reset_after_fork()

    def is_empty(self) -> bool:
        """Whether there is no listener."""
        return not self._registrations

    def register_on(self, link: Link, timeout: float, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Register the listeners on a link that is about to become the active one.

        Listeners of reliable topics that continue from their last message wait for ``register_missing``: before the
        switch is done they would drop the messages that they read.

        :param timeout: how long no answer may come, seconds; no bound for all of them together
        :param is_wanted: whether the link still is to become the active one
        :raises TimeoutError: the members do not answer
        :raises Cancelled: the link is not wanted any more
        """
        answers = FutureBatch(timeout, is_wanted)
        specs = [spec for spec in self._registrations.all() if not self._continues_on(spec, link)]
        registered = []
        try:
            reals = make_proxies(link, {spec.key for spec in specs}, answers)
            for spec in specs:
                future = self._register(spec, link, reals.get(spec.key))
                registered.append(future)
                answers.add(future)
            answers.wait()
        except Cancelled:
            self.deregister_from(link)
            raise
        for spec, future in zip(specs, registered, strict=True):
            if future.is_success():
                continue
            error = future.exception()
            if isinstance(error, (*LOSS_ERRORS, OSError)):
                raise error
            _log_failure(spec, link, error)

    def register_missing(self, link: Link) -> None:
        """Register on the active link what ``register_on`` left out, and what was added since. Does not wait."""
        with self._lock:
            reliable = list(self._reliable.values())
        for listener in reliable:
            listener.switched_to(link)
        for spec in self._registrations.all():
            if spec.id not in link.registrations:
                self._register_later(spec, link)

    def deregister_from(self, link: Link) -> None:
        """Deregister every listener on a link that was left and stays open. Does not wait."""
        self._registrations.deregister_all(link)

    def enqueue(self, link: Link, id_: str, call: Callable[[], object], size: int) -> bool:
        """Queue the call of a listener, which is skipped if ``link`` was left or the listener removed by then.

        :param size: of the event, bytes
        :returns: ``False`` if the event was dropped, since the queue is full
        """
        spec = self._registrations.get(id_)
        if spec is None:
            return True
        epoch = link.epoch

        def call_if_current() -> None:
            if self._operations.route.link is link and link.epoch == epoch and id_ in self._registrations:
                call_listener(call)

        return spec.queue.put(call_if_current, size)

    def call_soon(self, receive: Callable[..., object], *args: object) -> None:
        """Call a listener's function on the listeners' thread, wherever the client is by then."""
        self._queues.executor.submit(partial(call_listener, receive, *args))

    def is_ended_by(self, link: Link, id_: str) -> bool:
        """Whether a listener ends for good when the official client ends it on ``link``.

        It does not if that link was left or lost, nor if the user has removed it.
        """
        if id_ not in self._registrations:
            return False
        is_closed = self._operations.route.state is State.CLOSED
        return is_closed or (id_ in link.registrations and link.is_connected())

    def _register_later(self, spec: ListenerSpec, link: Link) -> None:
        def completed(done: Future[Any]) -> None:
            if done.is_success() or self._operations.route.link is not link:
                return
            _log_failure(spec, link, done.exception())
            if isinstance(done.exception(), OperationTimeoutError):
                self._register_later(spec, link)

        self._operations.submit_later(self._register_operation(spec)).add_done_callback(completed)

    def _register_operation(self, spec: ListenerSpec) -> Operation:
        start = partial(self._registrations.register, spec)
        return self._operations.operation(spec.key, spec.add_method, MethodTraits(Idempotency.LISTEN), start)

    def _register(self, spec: ListenerSpec, link: Link, made: Future[Any] | None) -> Future[Any]:
        try:
            real = link.real(spec.key) if made is None else made.result()
            return self._registrations.register(spec, real, link)
        except Exception as error:
            return ImmediateExceptionFuture(error)

    def _request(self, spec: ListenerSpec, real: Any, link: Link) -> Future[Any]:
        if spec.key.structure != "ReliableTopic":
            sink = _EventSink(self, link, spec.id)
            return link.client.listen(real, spec.add_method, spec.args, spec.kwargs, sink)
        args = [self._reliable_listener(spec, value, link) for value in spec.args]
        kwargs = {name: self._reliable_listener(spec, value, link) for name, value in spec.kwargs.items()}
        requested: Future[Any] = getattr(real, spec.add_method)(*args, **kwargs)
        return requested

    def _reliable_listener(self, spec: ListenerSpec, listener: Any, link: Link) -> Any:
        if not is_reliable_listener(listener):
            return listener  # the official method says what is wrong with it
        with self._lock:
            before = self._reliable.get(spec.id)
            following = ReliableListener(self, spec.id, listener, link, before)
            self._reliable[spec.id] = following
        return following

    def _continues_on(self, spec: ListenerSpec, link: Link) -> bool:
        reliable = self._reliable.get(spec.id)
        return reliable is not None and reliable.continues_on(link)

    def _pop_reliable(self, id_: str) -> ReliableListener | None:
        with self._lock:
            return self._reliable.pop(id_, None)

    def _remove_failed(self, id_: str) -> None:
        self._pop_reliable(id_)
        self._registrations.remove_failed(id_, self._operations.route.link)


@dataclass(eq=False, slots=True)
class _EventSink:
    """Queues what one link reports for one listener. One object each: there may be tens of thousands."""

    listeners: Listeners
    link: Link
    id: str

    def __call__(self, receive: Callable[..., object], event: object, size: int) -> None:
        self.listeners.enqueue(self.link, self.id, partial(receive, event), size)


def _log_failure(spec: ListenerSpec, link: Link, error: BaseException | None) -> None:
    registration = f"{spec.add_method} of {spec.key.structure} {spec.key.name!r}"
    _logger.error("%s fails on %s, continuing without it: %s", registration, link.label, error)


def _is_removed(future: Future[Any]) -> bool:
    if not future.is_success() and isinstance(future.exception(), _LINK_GONE):
        return True
    return bool(future.result())
