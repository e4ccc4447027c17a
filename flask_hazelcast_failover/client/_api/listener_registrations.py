"""Which listeners there are, and how each is registered on each link."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from hazelcast.future import Future, ImmediateFuture

from .._connect.link import Link, ProxyKey
from .._official import LightFuture
from .listener_queue import ListenerQueue


class ListenerSpec(NamedTuple):
    """How a listener is registered on any cluster."""

    id: str
    key: ProxyKey
    add_method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: ListenerQueue

    @property
    def remove_method(self) -> str:
        """The counterpart of ``add_method``."""
        return f"remove_{self.add_method.removeprefix('add_')}"


class _Registration(NamedTuple):
    """A listener on one link; the future gives the id that the official client knows it by."""

    spec: ListenerSpec
    official_id: Future[Any]

    @property
    def has_failed(self) -> bool:
        return self.official_id.done() and not self.official_id.is_success()


class ListenerRegistrations:
    """The listeners of one client, each registered once on each link, with ``request``."""

    def __init__(self, request: Callable[[ListenerSpec, Any, Link], Future[Any]]) -> None:
        self._request = request
        self._lock = threading.Lock()  # guards _specs, _by_structure, and the registrations of every link
        self._specs: dict[str, ListenerSpec] = {}
        self._by_structure: dict[ProxyKey, dict[str, ListenerSpec]] = {}  # the same, and never an empty one

    def __contains__(self, id_: str) -> bool:
        return id_ in self._specs

    def __len__(self) -> int:
        return len(self._specs)

    def get(self, id_: str) -> ListenerSpec | None:
        """A listener that was added and not removed."""
        return self._specs.get(id_)

    def all(self) -> list[ListenerSpec]:
        """Every listener that was added and not removed."""
        with self._lock:
            return list(self._specs.values())

    def add(self, spec: ListenerSpec) -> None:
        """Add a listener, registered nowhere yet."""
        with self._lock:
            self._specs[spec.id] = spec
            self._by_structure.setdefault(spec.key, {})[spec.id] = spec

    def remove(self, id_: str) -> ListenerSpec | None:
        """Remove a listener and close its queue. Its registrations stay."""
        with self._lock:
            spec = self._specs.pop(id_, None)
            if spec is not None:
                of_structure = self._by_structure[spec.key]
                del of_structure[id_]
                if not of_structure:
                    del self._by_structure[spec.key]
        if spec is not None:
            spec.queue.close()
        return spec

    def remove_failed(self, id_: str, link: Link | None) -> None:
        """Remove a listener whose registration has failed, on ``link`` as well."""
        self.remove(id_)
        if link is not None:
            with self._lock:
                registration: _Registration | None = link.registrations.get(id_)
                if registration is not None and registration.has_failed:
                    del link.registrations[id_]

    def remove_structure(self, key: ProxyKey, links: Iterable[Link]) -> list[ListenerSpec]:
        """Remove the listeners of a structure that was destroyed, and deregister them on ``links``."""
        with self._lock:
            specs = list(self._by_structure.pop(key, {}).values())
            for spec in specs:
                del self._specs[spec.id]
            registered = [
                (link, link.registrations.pop(spec.id))
                for link in links
                for spec in specs
                if spec.id in link.registrations
            ]
        for link, registration in registered:
            if key.structure != "ReliableTopic":  # whose listeners end with their proxy
                registration.official_id.continue_with(partial(_deregister_without_proxy, link))
        for spec in specs:
            spec.queue.close()
        return specs

    def register(self, spec: ListenerSpec, real: Any, link: Link) -> Future[Any]:
        """Register a listener on a link, unless it is already or was removed meanwhile."""
        with self._lock:
            if spec.id not in self._specs:
                return ImmediateFuture(None)
            # Adding a listener and preparing a link may register it on the same link at the same time.
            known: _Registration | None = link.registrations.get(spec.id)
            if known is not None and not known.has_failed:
                return known.official_id
            registration = _Registration(spec, LightFuture())
            link.registrations[spec.id] = registration
        try:
            requested = self._request(spec, real, link)
            requested.add_done_callback(partial(self._registered, link, registration))
        except BaseException as error:
            registration.official_id.set_exception(error)  # type: ignore[arg-type]
            raise
        return registration.official_id

    def deregister(self, link: Link, id_: str) -> Future[Any]:
        """Deregister a listener on a link."""
        with self._lock:
            registration = link.registrations.pop(id_, None)
        return ImmediateFuture(True) if registration is None else _deregister(link, registration)

    def deregister_all(self, link: Link) -> None:
        """Deregister every listener on a link. Does not wait."""
        with self._lock:
            registrations = list(link.registrations.values())
            link.registrations.clear()
        for registration in registrations:
            _deregister(link, registration)

    def reset_after_fork(self) -> None:
        """Go on in a forked child, with the same listeners."""
        self._lock = threading.Lock()
        for spec in self._specs.values():
            spec.queue.reset_after_fork()

    def _registered(self, link: Link, registration: _Registration, done: Future[Any]) -> None:
        official_id, id_ = registration.official_id, registration.spec.id
        if official_id.done():
            return
        if not done.is_success():
            official_id.set_exception(done.exception(), done.traceback())  # type: ignore[arg-type]
            return
        official_id.set_result(done.result())
        if id_ not in self:
            self.deregister(link, id_)  # removed meanwhile


def _deregister(link: Link, registration: _Registration) -> Future[Any]:
    spec = registration.spec

    def remove(done: Future[Any]) -> Any:
        real = link.real(spec.key)
        if real is not None:
            return getattr(real, spec.remove_method)(done.result())
        # The structure was destroyed meanwhile; listeners of reliable topics end with their proxy.
        return spec.key.structure == "ReliableTopic" or link.client.deregister_listener(done.result())

    return registration.official_id.continue_with(remove)


def _deregister_without_proxy(link: Link, registered: Future[Any]) -> Future[bool]:
    return link.client.deregister_listener(registered.result())
