"""Opening a link: DNS asked first, one attempt at the cluster, and the proxies in use made on what it opened."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hazelcast.config import Config
from hazelcast.lifecycle import LifecycleState

from flask_hazelcast_failover.client._connect.attempt import AttemptFailed, attempt
from flask_hazelcast_failover.client._connect.attempt_addresses import AttemptAddresses, KnownMembers
from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client._connect.probe import Verdict
from flask_hazelcast_failover.client._connect.proxy_making import make_proxies_in_use
from flask_hazelcast_failover.client._identity import ClientIdentity
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client._process.single_flight import SingleFlight
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import ClusterConfig, CNAMEResolver
from flask_hazelcast_failover.failover.client_config import build_config

__all__ = ["Opener", "close"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long a name server may take at least, even if attempts may not; and how long an answer is waited for
# while nobody waits for it here, seconds.
_SHORTEST_LOOKUP, _LONGEST_LOOKUP = 2.0, 10.0
# How long a link may take to close politely, seconds.
_POLITE = 0.5
# How often a link that is closed is looked at for operations that just began, seconds.
_PACE = 0.005


class Opener:
    """Opens links. Many threads may use it.

    :param clusters: in order of priority
    :param options: the client's options
    :param active_link: the link that operations use, whose proxies are made on each new link
    :param on_down: called when the last connection of a link was closed
    :param on_lookup: called with a cluster's index, its addresses and what was wrong, if the lookup failed
    """

    def __init__(
        self,
        clusters: Sequence[ClusterConfig],
        options: Options,
        active_link: Callable[[], Link | None],
        on_down: Callable[[Link], None],
        on_lookup: Callable[[int, tuple[str, ...], str | None], None],
    ) -> None:
        self._clusters = clusters
        self._options = options
        self._active_link = active_link
        self._on_down = on_down
        self._on_lookup = on_lookup
        self._resolvers: dict[int, CNAMEResolver] = {
            index: cluster.new_resolver() for index, cluster in enumerate(clusters) if cluster.is_dns
        }
        self._lookups: SingleFlight[int, object] = SingleFlight(self._ask_dns)

    def open(self, index: int, known: KnownCluster | None = None) -> Link:
        """Open a link to a cluster: where it is configured to be, which DNS is asked first, or where it was last known.

        :param known: what was last known of it; its members know the link by ``known.identity``
        :raises AttemptFailed: it cannot be reached
        """
        cluster = self._clusters[index]
        deadline = time.monotonic() + self._options.connect_timeout
        found = self._found(index, deadline) if cluster.is_dns else _Found(cluster.addresses)
        if not found.addresses and not (known and known.addresses):
            name = self._resolvers[index].dns_name
            raise AttemptFailed(f"name {name} not found: {found.error or 'timed out'}", Verdict.ABSENT)
        # A name that leads elsewhere now is to be followed: its old members come last.
        follows_name = cluster.is_dns and not found.error
        return self._open_at(
            index,
            AttemptAddresses.of(found.addresses, known if cluster.known_members else None),
            deadline,
            KnownMembers.LAST if follows_name else KnownMembers.AT_ONCE,
            known.identity if known else None,
        )

    def open_where_known(self, index: int) -> Link:
        """Open a link to where the last answer of DNS leads, without asking again.

        :raises AttemptFailed: nobody of use is there
        """
        deadline = time.monotonic() + self._options.connect_timeout
        return self._open_at(index, AttemptAddresses.of(self._resolvers[index].addresses), deadline)

    def look_up(self, index: int) -> None:
        """Ask DNS where a cluster is, and report what it says."""
        self._looked_up(index, time.monotonic() + _LONGEST_LOOKUP)

    def join(self, deadline: float) -> None:
        """Wait for the lookups under way, until ``deadline`` (monotonic seconds) at most."""
        self._lookups.join(deadline)

    def _open_at(
        self,
        index: int,
        addresses: AttemptAddresses,
        deadline: float,
        known_members: KnownMembers = KnownMembers.AT_ONCE,
        former: ClientIdentity | None = None,
    ) -> Link:
        cluster = self._clusters[index]
        down = threading.Event()
        opened: list[Link] = []

        def changed(state: str) -> None:
            if state == LifecycleState.DISCONNECTED:
                down.set()
                for link in opened:
                    self._on_down(link)

        def build(members: Sequence[str]) -> Config:
            return self._configured(cluster, members, changed)

        client = attempt(addresses, build, deadline, known_members=known_members, former=former)
        link = Link(cluster.label, index, client)
        opened.append(link)
        if down.is_set():
            close(link)
            raise AttemptFailed("closed right after connecting", Verdict.ABSENT)
        active = self._active_link()
        if active is not None:
            make_proxies_in_use(link, active)
        return link

    def _configured(
        self, cluster: ClusterConfig, members: Sequence[str], changed: Callable[[str], None]
    ) -> Config:
        common = {"invocation_retry_pause": 0.1, **self._options.client_options}
        config = build_config(cluster, common, members)
        config.connection_timeout = min(config.connection_timeout, self._options.connect_timeout)
        # The client's own listeners outlive this connection; it is told by this one.
        config.lifecycle_listeners = [changed]
        config.membership_listeners = []
        return config

    def _found(self, index: int, deadline: float) -> _Found:
        """Where a cluster's name leads, for an attempt: where it led last if the answer is late."""
        led_to = self._resolvers[index].addresses
        now = time.monotonic()
        return self._looked_up(index, now + (deadline - now) / 3 if led_to else deadline)

    def _looked_up(self, index: int, deadline: float) -> _Found:
        """Ask DNS, and tell the controller what it said; nothing for a name that never had an answer."""
        resolver = self._resolvers[index]
        why: str | None = None
        try:
            self._lookups.get(index, deadline)
        except TimeoutError:
            why = "timed out"
        except ClientOfflineException as failure:
            why = str(failure)
        found = _Found(resolver.addresses, why or resolver.last_error)
        self._on_lookup(index, tuple(found.addresses), found.error)
        return found

    def _ask_dns(self, index: int) -> None:
        self._resolvers[index].refresh(max(_SHORTEST_LOOKUP, self._options.connect_timeout))


class _Found(NamedTuple):
    """Where a cluster may be, and what was wrong if its name could not be looked up."""

    addresses: Sequence[str]
    error: str | None = None


def close(link: Link) -> None:
    """Close a link: politely if it answers, in any case soon. Takes a second at most."""
    if link.is_connected():
        polite = threading.Thread(target=link.client.shutdown, name="hazelcast-failover-goodbye", daemon=True)
        polite.start()
        polite.join(_POLITE)
    link.client.abandon()
    deadline = time.monotonic() + _POLITE
    while not link.is_idle and time.monotonic() < deadline:
        link.end_calls()
        time.sleep(_PACE)
