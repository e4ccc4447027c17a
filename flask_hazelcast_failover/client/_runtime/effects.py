"""The controller's effects on real clusters.

Nothing in it blocks the controller: attempts, lookups, preparing, draining and closing each get a thread of their own
and end as a message.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from hazelcast.lifecycle import LifecycleState

from ..._foreign_text import printable
from ..._threads import resting
from ...errors import ClientOfflineException
from ...failover import ClusterConfig
from .._api.listeners import Listeners
from .._api.proxy_source import ProxySource
from .._api.services import FollowingClusterService, FollowingLifecycle
from .._connect.attempt import AttemptFailed
from .._connect.future_batch import Cancelled
from .._connect.link import Link
from .._connect.opener import Opener, close
from .._connect.probe import Verdict
from .._controller.effects import LinkView
from .._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Drained,
    LinkDown,
    Message,
    Prepared,
    ReadyAnswered,
    Resolved,
)
from .._known_cluster import KnownCluster
from .._operations.route import Route
from ..events import Event
from ..options import Options
from ..status import ClientStatus
from .open_links import HelperThreads, OpenLinks
from .preparation import Preparation
from .ready_checks import ReadyChecks

_logger = logging.getLogger("flask_hazelcast_failover.client")

# Not the one that apps and tests may have seeded: our threads would take numbers out of its sequence.
_random = random.SystemRandom()

# How often a link that is drained is looked at for operations in flight, seconds.
_DRAIN_INTERVAL = 0.005


class ClusterEffects:
    """Does what the controller decides. Called on the controller's thread, but for what says otherwise.

    :param clusters: in order of priority
    :param options: the client's options
    :param parts: the client's parts that follow from link to link
    :param links: the open links
    :param threads: run what may block
    :param post: gives the controller a message
    """

    def __init__(
        self,
        clusters: Sequence[ClusterConfig],
        options: Options,
        parts: Parts,
        *,
        links: OpenLinks,
        threads: HelperThreads,
        post: Callable[[Message], None],
    ) -> None:
        self.opener = Opener(
            clusters,
            options,
            active_link=lambda: parts.route.link,
            on_down=lambda link: post(LinkDown(link)),
            on_lookup=lambda *found: post(Resolved(*found)),
        )
        self.status: ClientStatus  # replaced as a whole
        self.is_stopped = False  # set once, by whoever stops the engine
        self._clusters = clusters
        self._drain_timeout = options.drain_timeout
        self._parts = parts
        self._links = links
        self._threads = threads
        self._post = post
        self._preparation = Preparation(parts.listeners, options.connect_timeout)
        self._ready_checks = ReadyChecks(
            options.ready_check, lambda link, ready: post(ReadyAnswered(link, ready))
        )
        self._published: Link | None = None  # the last one

    def now(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return _random.random()

    def start_attempt(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        def run() -> None:
            self._post(self._attempt(index, attempt, known))

        self._threads.start(run, "attempt")

    def verify_addresses(self, index: int, own_answers: int) -> None:
        def run() -> None:
            try:
                # The answer that led here is used: asking DNS again would lead here again.
                link = self._added(self.opener.open_where_known(index))
                self._post(AddressesVerified(index, link, own_answers))
            except Exception as failure:
                label = self._clusters[index].label
                _logger.debug(
                    "no usable member where the name of %s leads: %s", label, printable(str(failure))
                )

        self._threads.start(run, "attempt")

    def resolve(self, index: int) -> None:
        self._threads.start(lambda: self.opener.look_up(index), "resolve")

    def prepare(self, link: LinkView) -> None:
        link = _own(link)
        link.client.clear_near_caches()
        active = self._parts.route.link
        token = self._preparation.begin(link)

        def run() -> None:
            with suppress(Cancelled):
                self._post(Prepared(link, self._preparation.carry_out(link, active, token)))

        if active is None and not self._preparation.is_needed():
            self._post(Prepared(link))
        else:
            self._threads.start(run, "prepare")

    def ask_ready(self, link: LinkView) -> None:
        self._threads.start(partial(self._ready_checks.ask, _own(link)), "ready")

    def suspend(self) -> None:
        self._parts.route.suspend()
        if self._links.all():
            self._parts.lifecycle.fire(LifecycleState.DISCONNECTED)

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        link, parts = _own(link), self._parts
        # First, so that a listener that is added from now on misses no change from now on.
        parts.members.follow(link)
        if self._published is not None and self._published.visit_id == link.visit_id:
            link.continue_from(self._published)
        self._published = link
        if parts.route.link is None:
            parts.lifecycle.fire(LifecycleState.CONNECTED)
        parts.route.publish(link, partial(self.set_status, status))
        parts.listeners.register_missing(link)
        parts.proxies.create_missing(link)

    def go_offline(self, why: str) -> None:
        self._parts.route.offline(why)

    def drain(self, link: LinkView) -> None:
        link = _own(link)
        self._preparation.cancel(link)
        epoch = link.epoch
        # Here and now: a switch back registers them again, and that must come after.
        self._parts.listeners.deregister_from(link)

        def run() -> None:
            deadline = time.monotonic() + self._drain_timeout
            while not link.is_idle and time.monotonic() < deadline and link.epoch == epoch:
                with resting():
                    time.sleep(_DRAIN_INTERVAL)
            if link.epoch == epoch:
                link.client.clear_near_caches()
            self._post(Drained(link, epoch, link.remains))

        self._threads.start(run, "drain")

    def close(self, link: LinkView) -> None:
        link = _own(link)
        self._links.remove(link)
        self._preparation.cancel(link)
        link.end_calls()
        self._threads.start(lambda: close(link), "close")

    def set_status(self, status: ClientStatus) -> None:
        self.status = status

    def announce(self, event: Event, why: str = "") -> None:
        self._parts.announce(event, why)

    def try_to_connect(self, index: int, known: KnownCluster | None) -> None:
        """Open a link to a cluster and close it again. From any thread.

        :raises ClientOfflineException: it cannot be reached
        """
        try:
            # Besides a link that is open: the members must not take the one for the other.
            link = self._added(self.opener.open(index, known and replace(known, identity=None)))
        except Exception as failure:
            why = f"{self._clusters[index].label} cannot be reached, nothing has changed: {failure}"
            raise ClientOfflineException(printable(why)) from failure
        self.close(link)

    # On threads of its own.

    def _attempt(self, index: int, attempt: int, known: KnownCluster | None) -> AttemptEnded:
        try:
            link = self._added(self.opener.open(index, known))
        except AttemptFailed as failure:
            return AttemptEnded(index, attempt, None, str(failure), failure.verdict is Verdict.REFUSING)
        except ClientOfflineException as failure:
            return AttemptEnded(index, attempt, None, str(failure))
        except Exception as failure:  # bad TLS files, a token provider that raises, …
            why = printable(f"{type(failure).__name__}: {failure}")
            return AttemptEnded(index, attempt, None, why, refusing=True)
        preferred = self._parts.preferred(link) if self.status.epoch == 0 else None
        return AttemptEnded(index, attempt, link, preferred=preferred)

    def _added(self, link: Link) -> Link:
        self._links.add(link)
        if self.is_stopped:
            close(link)  # stop() may have closed the open links just before
            raise AttemptFailed("the client was shut down", Verdict.ABSENT)
        return link


@dataclass(frozen=True)
class Parts:
    """The parts of a client that follow it from link to link.

    :param announce: passes an event on to the subscribers
    :param tend: goes on with what was interrupted; called now and then
    :param preferred: the index of the cluster that the fleet is on, asked of the first connections
    """

    route: Route
    listeners: Listeners
    proxies: ProxySource
    lifecycle: FollowingLifecycle
    members: FollowingClusterService
    announce: Callable[[Event, str], None]
    tend: Callable[[], None]
    preferred: Callable[[Link], int | None]


def _own(link: LinkView) -> Link:
    if not isinstance(link, Link):
        raise TypeError(f"expected a Link, not {type(link).__name__}")
    return link
