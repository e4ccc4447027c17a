"""The open links of a client, and the threads that work for a while on them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from ..._threads import helper_thread, resting
from .._api.proxy_source import ProxySource
from .._connect.link import Link, ProxyKey
from .._official import OfficialClient
from .._operations.route import Route

_logger = logging.getLogger("flask_hazelcast_failover.client")


class OpenLinks:
    """The active link, those that stand by, and those that are being drained.

    :param route: says which one is active
    :param proxies: the client's proxies
    """

    def __init__(self, route: Route, proxies: ProxySource) -> None:
        self._route = route
        self._proxies = proxies
        self._links: dict[Link, None] = {}  # single steps of a dict by any thread

    def add(self, link: Link) -> None:
        """A link was opened: keep its proxies in step with those that are used."""
        link.on_proxy_created = partial(self._make_on_standbys, link)
        self._links[link] = None
        self._proxies.adopt(link)

    def remove(self, link: Link) -> None:
        """A link is being closed."""
        self._links.pop(link, None)

    def clear(self) -> None:
        """In a forked child: all of them are the parent's."""
        self._links.clear()

    def all(self) -> list[Link]:
        """Every open link, in the order of opening."""
        return list(self._links)

    def connected_clusters(self) -> dict[str, OfficialClient]:
        """The open connections by label, each the newest one to its cluster."""
        return {link.label: link.client for link in self._links.copy() if link.is_connected()}

    def _make_on_standbys(self, link: Link, key: ProxyKey) -> None:
        """A proxy came into use: make it wherever operations may go next, without waiting for that."""
        if link is not self._route.link or not key.service:
            return
        for standby in self.all():
            if standby is not link and standby.real(key) is None:
                try:
                    standby.obtain(key)
                except Exception as failure:
                    _logger.debug("no proxy of %s on %s beforehand: %s", key.name, standby.label, failure)


class HelperThreads:
    """Daemon threads that each do one thing which may block."""

    def __init__(self) -> None:
        self._running: dict[threading.Thread, None] = {}  # single steps of a dict by any thread

    def start(self, run: Callable[[], object], what: str) -> threading.Thread:
        """Do something on a thread of its own.

        :param what: the last part of the thread's name
        :raises RuntimeError: no thread can be started, as at the exit of the interpreter
        """

        def run_and_forget() -> None:
            try:
                run()
            finally:
                self._running.pop(thread, None)

        thread = helper_thread(run_and_forget, f"hazelcast-failover-{what}")
        self._running[thread] = None
        try:
            thread.start()
        except RuntimeError:
            del self._running[thread]
            raise
        return thread

    def join(self, timeout: float) -> None:
        """Wait for those that are running, ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        for thread in list(self._running):
            with resting():
                thread.join(max(0.0, deadline - time.monotonic()))
