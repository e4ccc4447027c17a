"""One life of a client in one process: the controller's thread, and everything the controller has done for it.

The engine is the controller's ``World`` on real clusters. Nothing in it blocks the controller: attempts,
lookups, preparing, draining and closing each get a thread of their own and end as an event.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from hazelcast.lifecycle import LifecycleState

from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._api.proxy_source import ProxySource
from flask_hazelcast_failover.client._api.services import FollowingClusterService, FollowingLifecycle
from flask_hazelcast_failover.client._connect.attempt import AttemptFailed
from flask_hazelcast_failover.client._connect.future_batch import Cancelled
from flask_hazelcast_failover.client._connect.link import Link, ProxyKey
from flask_hazelcast_failover.client._connect.opener import Opener, close
from flask_hazelcast_failover.client._connect.probe import Verdict
from flask_hazelcast_failover.client._controller.cluster import ClusterRecord, LinkView
from flask_hazelcast_failover.client._controller.controller import FailoverController
from flask_hazelcast_failover.client._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Begin,
    Drained,
    LinkDown,
    Message,
    Prepared,
    ReadyAnswered,
    Resolved,
    SwitchRequest,
)
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client._official import OfficialClient, is_reactor_thread
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client._runtime.health_monitor import HealthMonitor
from flask_hazelcast_failover.client._runtime.preparation import Preparation
from flask_hazelcast_failover.client._runtime.ready_checks import ReadyChecks
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.client.status import ClientStatus
from flask_hazelcast_failover.errors import ClientOfflineException, ClientShutDown
from flask_hazelcast_failover.failover import ClusterConfig

__all__ = ["Engine"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# Not the one that apps and tests may have seeded: our threads would take numbers out of its sequence.
_chance = random.SystemRandom()

# How often a link that is left is looked at for operations in flight, seconds.
_DRAIN_PACE = 0.005
# How long the controller's thread sleeps at most: what is due may be further away than a lock can wait, seconds.
_LONGEST_SLEEP = 3600.0


class Engine:
    """What makes a client run, from the first use to the end.

    :param clusters: in order of priority
    :param options: the client's options, with ``try_count`` filled in
    :param worker: id of this process
    :param route: where operations read what the controller publishes
    """

    def __init__(
        self,
        clusters: Sequence[ClusterConfig],
        options: Options,
        worker: str,
        route: Route,
        *,
        listeners: Listeners,
        proxies: ProxySource,
        lifecycle: FollowingLifecycle,
        members: FollowingClusterService,
        tell: Callable[[Event, str], None],
        prefer: Callable[[Link], int | None],
    ) -> None:
        self._clusters = clusters
        self._options = options
        self._route = route
        self._listeners = listeners
        self._proxies = proxies
        self._lifecycle = lifecycle
        self._members = members
        self._tell = tell
        self._prefer = prefer
        self._opener = Opener(
            clusters,
            options,
            active_link=lambda: route.link,
            on_down=lambda link: self.post(LinkDown(link)),
            on_lookup=lambda *found: self.post(Resolved(*found)),
        )
        records = [ClusterRecord(cluster, index, cluster.addresses) for index, cluster in enumerate(clusters)]
        self._ready_checks = ReadyChecks(
            options.ready_check, lambda link, ready: self.post(ReadyAnswered(link, ready))
        )
        self._controller = FailoverController(records, options, self, worker)
        self.latest = self._controller.status()  # replaced as a whole by the controller's thread
        self._changed = threading.Condition()
        self._happenings: deque[Message] = deque()  # under _changed
        self._stopped = False  # under _changed
        self._started = False  # under _changed
        self._farewell: Callable[[], Exception] = ClientShutDown  # under _changed
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-controller", daemon=True)
        self._links: dict[Link, None] = {}  # open ones; single steps of a dict by any thread
        self._preparation = Preparation(listeners, options.connect_timeout)
        self._helpers: dict[threading.Thread, None] = {}  # running; likewise
        self._published: Link | None = None  # the last one; of the controller's thread
        self._health_monitor = HealthMonitor(options, self.open_links, self.post)

    # For the client.

    def remember(self, before: ClientStatus) -> None:
        """Show why the clusters could not be reached before. To be called before ``begin()``."""
        for record, cluster in zip(self._controller.records, before.clusters, strict=True):
            record.last_error = cluster.last_error
        self.latest = self._controller.status()

    def begin(self) -> None:
        """Start the threads, once, and have the controller connect."""
        with self._changed:
            if self._started or self._stopped:
                return
            self._started = True
        self._thread.start()
        self._health_monitor.start()
        self._lifecycle.fire(LifecycleState.STARTING)
        self._lifecycle.fire(LifecycleState.STARTED)
        self.post(Begin())

    def post(self, happening: Message) -> None:
        """Tell the controller. A wish that comes too late is answered so at once."""
        with self._changed:
            too_late = self._stopped
            self._happenings.append(happening)
            self._changed.notify()
        if too_late:
            self._answer_the_late()

    def stop(self, timeout: float, farewell: Callable[[], Exception] = ClientShutDown) -> None:
        """End everything, ``timeout`` seconds at most.

        :param farewell: makes the error for those who still wait for something
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._farewell = farewell
            started, self._stopped = self._started, True
            self._changed.notify()
        self._health_monitor.stop()
        if not started:
            self._controller.close(self._farewell)
            self._answer_the_late()
            return
        for thread in (self._thread, self._health_monitor):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._opener.join(deadline)
        self._answer_the_late()
        links = self.open_links()
        closing: list[threading.Thread] = []
        # At its exit the interpreter may start no more threads: the kernel closes what is open then.
        with suppress(RuntimeError):
            closing.extend(self._spawn(partial(close, link), "close") for link in links)
        for link in links:
            link.end_calls()
        if is_reactor_thread():
            return  # a callback: the thread to wait for is the caller's
        for thread in closing:
            thread.join(max(0.0, deadline - time.monotonic()))

    def join(self, timeout: float) -> None:
        """Wait, after ``stop()``, for what still is under way: ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        for thread in list(self._helpers) if not is_reactor_thread() else ():
            thread.join(max(0.0, deadline - time.monotonic()))

    def let_go(self) -> None:
        """The interpreter ends: decide nothing more. What is open the kernel closes."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._health_monitor.stop()

    def abandon_in_child(self) -> None:
        """In a forked child: touch nothing of the parent's, whose locks may be held by threads that are gone."""
        # Greenlets are copied with the process: the parent's are to end.
        self._stopped = True
        self._health_monitor.abandon()
        self._links.clear()

    def connected_clusters(self) -> dict[str, OfficialClient]:
        """The open connections by label, each the newest one to its cluster."""
        return {link.label: link.client for link in self.open_links() if link.is_connected()}

    def open_links(self) -> list[Link]:
        """The active link, those that stand by, and those that are being left."""
        return list(self._links)

    def try_to_connect(self, index: int) -> None:
        """Open a connection to a cluster and close it again.

        :raises ClientOfflineException: it cannot be reached
        """
        known = self._controller.records[index].known
        try:
            # Besides a link that is open: the members must not take the one for the other.
            link = self._kept(self._opener.open(index, known and replace(known, identity=None)))
        except Exception as failure:
            raise ClientOfflineException(
                f"{self._clusters[index].label} cannot be reached, nothing has changed: {failure}"
            ) from failure
        self.discard(link)

    # The controller's thread.

    def _run(self) -> None:
        while True:
            happening = self._next()
            if self._stopped:
                if happening is not None:
                    self.post(happening)  # somebody may wait for it
                break
            try:
                self._controller.handle(happening)
            except Exception:
                if not self._stopped:  # else the interpreter is ending, and starts no more threads
                    _logger.exception("unexpected failure while handling %r", happening)
        self._controller.close(self._farewell)

    def _answer_the_late(self) -> None:
        with self._changed:
            late, self._happenings = self._happenings, deque()
        for happening in late:
            if isinstance(happening, SwitchRequest):
                happening.done(self._farewell())

    def _next(self) -> Message | None:
        with self._changed:
            due = self._controller.next_due()
            if not self._happenings and not self._stopped:
                left = _LONGEST_SLEEP if due is None else due - time.monotonic()
                self._changed.wait(min(_LONGEST_SLEEP, max(0.0, left)))
            return self._happenings.popleft() if self._happenings else None

    # The controller's world.

    def now(self) -> float:
        return time.monotonic()

    def chance(self) -> float:
        return _chance.random()

    def dial(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        def run() -> None:
            try:
                link = self._kept(self._opener.open(index, known))
            except AttemptFailed as failure:
                refusing = failure.verdict is Verdict.REFUSING
                self.post(AttemptEnded(index, attempt, None, str(failure), refusing))
            except ClientOfflineException as failure:
                self.post(AttemptEnded(index, attempt, None, str(failure)))
            except Exception as failure:  # bad TLS files, a token provider that raises, …
                why = f"{type(failure).__name__}: {failure}"
                self.post(AttemptEnded(index, attempt, None, why, refusing=True))
            else:
                preferred = self._prefer(link) if self.latest.epoch == 0 else None
                self.post(AttemptEnded(index, attempt, link, preferred=preferred))

        self._spawn(run, "attempt")

    def scout(self, index: int, confirmed: int) -> None:
        def run() -> None:
            try:
                # The answer that made us look: asking again here would make us look again.
                link = self._kept(self._opener.open_where_known(index))
                self.post(AddressesVerified(index, link, confirmed))
            except Exception as failure:
                _logger.debug("nobody of use where %s leads: %s", self._clusters[index].label, failure)

        self._spawn(run, "attempt")

    def resolve(self, index: int) -> None:
        self._spawn(lambda: self._opener.look_up(index), "resolve")

    def prepare(self, link: LinkView) -> None:
        link = _own(link)
        link.client.clear_near_caches()
        active = self._route.link
        token = self._preparation.begin(link)

        def run() -> None:
            with suppress(Cancelled):
                self.post(Prepared(link, self._preparation.carry_out(link, active, token)))

        if active is None and not self._preparation.is_needed():
            self.post(Prepared(link))
        else:
            self._spawn(run, "prepare")

    def ask_ready(self, link: LinkView) -> None:
        self._spawn(partial(self._ready_checks.ask, _own(link)), "ready")

    def suspend(self) -> None:
        self._route.suspend()
        if self._links:
            self._lifecycle.fire(LifecycleState.DISCONNECTED)

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        link = _own(link)
        # Told first, so that who listens from now on hears what happens from now on.
        self._members.follow(link)
        if self._published is not None and self._published.visit_id == link.visit_id:
            link.continue_from(self._published)
        self._published = link
        if self._route.link is None:
            self._lifecycle.fire(LifecycleState.CONNECTED)
        self._route.publish(link, partial(self.show, status))
        self._listeners.complete(link)
        self._proxies.complete(link)

    def offline(self, why: str) -> None:
        self._route.offline(why)

    def leave(self, link: LinkView) -> None:
        link = _own(link)
        self._preparation.call_off(link)
        epoch = link.epoch
        # Here and now: whoever moves back at once registers them again, and that must come after.
        self._listeners.drop_from(link)

        def run() -> None:
            deadline = time.monotonic() + self._options.drain_timeout
            while not link.is_idle and time.monotonic() < deadline and link.epoch == epoch:
                time.sleep(_DRAIN_PACE)
            if link.epoch == epoch:
                link.client.clear_near_caches()
            self.post(Drained(link, epoch, link.remains))

        self._spawn(run, "drain")

    def discard(self, link: LinkView) -> None:
        link = _own(link)
        self._links.pop(link, None)
        self._preparation.call_off(link)
        link.end_calls()
        self._spawn(lambda: close(link), "close")

    def show(self, status: ClientStatus) -> None:
        self.latest = status

    def announce(self, event: Event, why: str = "") -> None:
        self._tell(event, why)

    def answer(self, wish: SwitchRequest, error: Exception | None) -> None:
        wish.done(error)

    # What these threads do.

    def _kept(self, link: Link) -> Link:
        """Look after a link that was just opened."""
        link.on_proxy_created = partial(self._make_on_standbys, link)
        self._links[link] = None
        self._proxies.look_after(link)
        if self._stopped:
            close(link)  # stop() may have closed the open links just before
            raise AttemptFailed("the client was shut down", Verdict.ABSENT)
        return link

    def _make_on_standbys(self, link: Link, key: ProxyKey) -> None:
        """A proxy came into use: have it made wherever operations may go next, and do not wait for that."""
        if link is not self._route.link or not key.service:
            return
        for standby in self.open_links():
            if standby is not link and standby.real(key) is None:
                try:
                    standby.obtain(key)
                except Exception as failure:
                    _logger.debug("no proxy of %s on %s beforehand: %s", key.name, standby.label, failure)

    def _spawn(self, run: Callable[[], object], what: str) -> threading.Thread:
        def help_out() -> None:
            try:
                run()
            finally:
                self._helpers.pop(thread, None)

        thread = threading.Thread(target=help_out, name=f"hazelcast-failover-{what}", daemon=True)
        self._helpers[thread] = None
        try:
            thread.start()
        except RuntimeError:
            del self._helpers[thread]
            raise
        return thread


def _own(link: LinkView) -> Link:
    if not isinstance(link, Link):
        raise TypeError(f"expected a Link, not {type(link).__name__}")
    return link
