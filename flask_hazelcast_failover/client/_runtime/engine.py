"""The engine of a client in one process: the thread of the controller, from the first use to the end."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from hazelcast.lifecycle import LifecycleState

from ..._threads import ServiceThread, resting
from ...errors import ClientShutDown
from ...failover import ClusterConfig
from .._connect.opener import close
from .._controller.cluster import ClusterRecord
from .._controller.controller import FailoverController
from .._controller.messages import Begin, Message, SwitchRequest
from .._official import is_reactor_thread
from ..options import Options
from ..status import ClientStatus
from .effects import ClusterEffects, Parts
from .health_monitor import HealthMonitor
from .open_links import HelperThreads, OpenLinks

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long the controller's thread sleeps at most: what is due may be further away than a lock can wait, seconds.
_LONGEST_SLEEP = 3600.0


class Engine:
    """Runs the controller, the health monitor and whatever they need. Begun once, stopped once.

    :param clusters: in order of priority
    :param options: the client's options, with ``try_count`` filled in
    :param worker: id of this process
    :param parts: the client's parts that follow from link to link
    """

    def __init__(
        self, clusters: Sequence[ClusterConfig], options: Options, worker: str, parts: Parts
    ) -> None:
        self._lifecycle = parts.lifecycle
        self._threads = HelperThreads()
        self.links = OpenLinks(parts.route, parts.proxies)
        self._effects = ClusterEffects(
            clusters, options, parts, links=self.links, threads=self._threads, post=self.post
        )
        records = [ClusterRecord(cluster, index) for index, cluster in enumerate(clusters)]
        self._controller = FailoverController(records, options, self._effects, worker)
        self._effects.set_status(self._controller.status())
        self._health_monitor = HealthMonitor(options, self.links.all, self.post, parts.tend)
        # None wakes the thread. Each of these is a single step of the interpreter, by any thread.
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._has_begun = False  # set once, by the controller's thread
        self._is_stopped = False  # set once
        self._make_error: Callable[[], Exception] = ClientShutDown  # set before _is_stopped
        self._thread = ServiceThread(self._run, "hazelcast-failover-controller")

    @property
    def status(self) -> ClientStatus:
        """The latest status."""
        return self._effects.status

    def remember(self, before: ClientStatus) -> None:
        """Show why the clusters could not be reached before. To be called before ``begin()``."""
        for record, cluster in zip(self._controller.records, before.clusters, strict=True):
            record.last_error = cluster.last_error
        self._effects.set_status(self._controller.status())

    def begin(self) -> None:
        """Start the threads, once, and have the controller connect. May be called again and again."""
        if not self._is_stopped:
            self._thread.start()

    def post(self, message: Message) -> None:
        """Give the controller a message. A request that comes too late fails at once."""
        self._messages.put(message)
        if self._is_stopped:
            self._fail_unanswered()

    def try_to_connect(self, index: int) -> None:
        """Open a connection to a cluster and close it again.

        :raises ClientOfflineException: it cannot be reached
        """
        self._effects.try_to_connect(index, self._controller.records[index].connection.known)

    def stop(self, timeout: float, make_error: Callable[[], Exception] = ClientShutDown) -> None:
        """End everything, ``timeout`` seconds at most.

        :param make_error: makes the error for those who still wait for something
        """
        deadline = time.monotonic() + timeout
        self._make_error = make_error
        self._mark_stopped()
        self._health_monitor.stop()
        for thread in (self._thread, self._health_monitor):
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._has_begun:
            self._controller.close(make_error)
            self._fail_unanswered()
            return
        self._effects.opener.join(deadline)
        self._fail_unanswered()
        self._close_links(deadline)

    def join(self, timeout: float) -> None:
        """Wait, after ``stop()``, for what still is under way: ``timeout`` seconds at most."""
        if not is_reactor_thread():
            self._threads.join(timeout)

    def abandon_at_exit(self) -> None:
        """The interpreter ends: decide nothing more. What is open the kernel closes."""
        self._mark_stopped()
        self._health_monitor.stop()

    def abandon_in_child(self) -> None:
        """In a forked child: touch nothing of the parent's, whose locks may be held by threads that are gone."""
        # Greenlets are copied with the process: the parent's are to end.
        self._is_stopped = self._effects.is_stopped = True
        self._health_monitor.abandon()
        self.links.clear()

    def _mark_stopped(self) -> None:
        self._is_stopped = self._effects.is_stopped = True
        self._messages.put(None)

    def _close_links(self, deadline: float) -> None:
        links = self.links.all()
        closing: list[threading.Thread] = []
        # At its exit the interpreter may start no more threads: the kernel closes what is open then.
        with suppress(RuntimeError):
            closing.extend(self._threads.start(partial(close, link), "close") for link in links)
        for link in links:
            link.end_calls()
        if is_reactor_thread():
            return  # a callback: the thread to wait for is the caller's
        for thread in closing:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _fail_unanswered(self) -> None:
        with suppress(queue.Empty):
            while True:
                message = self._messages.get_nowait()
                if isinstance(message, SwitchRequest):
                    message.done.set_exception(self._make_error())
        self._messages.put(None)  # the controller may not have come to the one that was taken out

    # The controller's thread.

    def _run(self) -> None:
        if self._has_begun or self._effects.is_stopped:
            return
        self._health_monitor.start()
        self._has_begun = True  # only now: if no thread could be started, the next use begins again
        self._lifecycle.fire(LifecycleState.STARTING)
        self._lifecycle.fire(LifecycleState.STARTED)
        message: Message | None = Begin()
        while True:
            if self._is_stopped:
                if message is not None:
                    self.post(message)  # a request may wait for its end
                break
            try:
                self._controller.handle(message)
            except Exception:
                if not self._effects.is_stopped:  # else the interpreter is ending, and starts no more threads
                    _logger.exception("unexpected failure while handling %r", message)
            message = self._next()
        self._controller.close(self._make_error)

    def _next(self) -> Message | None:
        due = self._controller.next_due()
        left = _LONGEST_SLEEP if due is None else due - time.monotonic()
        try:
            with resting():
                return self._messages.get(timeout=min(_LONGEST_SLEEP, max(0.0, left)))
        except queue.Empty:
            return None
