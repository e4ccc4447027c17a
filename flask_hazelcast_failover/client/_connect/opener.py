"""Opens links: resolves the cluster's DNS name, makes one attempt, and creates the proxies in use on the new link."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hazelcast.config import Config
from hazelcast.lifecycle import LifecycleState

from ..._threads import helper_thread, resting
from ...errors import ClientOfflineException
from ...failover import ClusterConfig, CNAMEResolver
from ...failover.client_config import build_config
from .._identity import ClientIdentity
from .._known_cluster import KnownCluster
from .._process.single_flight import SingleFlight
from ..options import Options
from .attempt import AttemptFailed, attempt
from .attempt_addresses import AttemptAddresses, KnownMembers
from .link import Link
from .probe import Verdict
from .proxy_making import make_proxies_in_use

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long a query to the name servers may take, also if an attempt is shorter; and how long `look_up` waits, seconds.
_MIN_QUERY_TIMEOUT, _LOOK_UP_TIMEOUT = 2.0, 10.0
# How long a regular shutdown of a link may take, and then its operations to end, seconds each.
_CLOSE_TIMEOUT = 0.5
# How often a closed link is checked for operations that have just started, seconds.
_CLOSE_INTERVAL = 0.005


class Opener:
    """Opens links; used by many threads.

    :param clusters: in order of priority
    :param options: the client's options
    :param active_link: returns the active link, whose proxies are created on each new link
    :param on_down: called when the last connection of a link has closed
    :param on_lookup: called with a cluster's index, its addresses, and the error if the lookup failed
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
        self._lookups: SingleFlight[int, object] = SingleFlight(self._refresh)

    def open(self, index: int, known: KnownCluster | None = None) -> Link:
        """Open a link to a cluster, at its configured addresses (its name is resolved first) or at the known ones.

        :param known: what was last known of the cluster; the link takes over ``known.identity``
        :raises AttemptFailed: the cluster cannot be reached
        """
        cluster = self._clusters[index]
        deadline = time.monotonic() + self._options.connect_timeout
        resolved = (
            self._resolve_for_attempt(index, deadline) if cluster.is_dns else _Resolved(cluster.addresses)
        )
        if not resolved.addresses and not (known and known.addresses):
            name = self._resolvers[index].dns_name
            raise AttemptFailed(f"name {name} not found: {resolved.error or 'timed out'}", Verdict.ABSENT)
        # If the name resolves, its addresses come first: they may be those of another cluster now.
        is_resolved = cluster.is_dns and not resolved.error
        return self._open_at(
            index,
            AttemptAddresses.of(resolved.addresses, known if cluster.known_members else None),
            deadline,
            KnownMembers.LAST if is_resolved else KnownMembers.AT_ONCE,
            known.identity if known else None,
        )

    def open_where_known(self, index: int) -> Link:
        """Open a link at the addresses that the cluster's name last resolved to, without a lookup.

        :raises AttemptFailed: the cluster cannot be reached
        """
        deadline = time.monotonic() + self._options.connect_timeout
        return self._open_at(index, AttemptAddresses.of(self._resolvers[index].addresses), deadline)

    def look_up(self, index: int) -> None:
        """Resolve a cluster's name, and report the result by ``on_lookup``."""
        self._resolve(index, time.monotonic() + _LOOK_UP_TIMEOUT)

    def join(self, deadline: float) -> None:
        """Wait for the running lookups, until ``deadline`` (monotonic seconds) at most."""
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
        down: list[str] = []
        opened: list[Link] = []

        def on_state(state: str) -> None:
            if state == LifecycleState.DISCONNECTED and not (opened and opened[0].client.is_reopening):
                down.append(state)
                for link in opened:
                    self._on_down(link)

        def build(members: Sequence[str]) -> Config:
            return self._build_config(cluster, members, on_state)

        client = attempt(
            addresses,
            build,
            deadline,
            known_members=known_members,
            former=former,
            max_message_size=self._options.max_message_size,
        )
        link = Link(cluster.label, index, client)
        opened.append(link)
        if down:
            close(link)
            raise AttemptFailed("closed right after connecting", Verdict.ABSENT)
        active = self._active_link()
        if active is not None:
            make_proxies_in_use(link, active)
        return link

    def _build_config(
        self, cluster: ClusterConfig, members: Sequence[str], on_state: Callable[[str], None]
    ) -> Config:
        common = {"invocation_retry_pause": 0.1, **self._options.client_options}
        config = build_config(cluster, common, members)
        config.connection_timeout = min(config.connection_timeout, self._options.connect_timeout)
        # The user's listeners outlive this connection; they are called by the failover client.
        config.lifecycle_listeners = [on_state]
        config.membership_listeners = []
        return config

    def _resolve_for_attempt(self, index: int, deadline: float) -> _Resolved:
        """Resolve a cluster's name; use its last addresses, if there are any, when a third of the time is over."""
        last = self._resolvers[index].addresses
        now = time.monotonic()
        return self._resolve(index, now + (deadline - now) / 3 if last else deadline)

    def _resolve(self, index: int, deadline: float) -> _Resolved:
        """Resolve a cluster's name, and report the result; no addresses if it has never resolved."""
        resolver = self._resolvers[index]
        error: str | None = None
        try:
            self._lookups.get(index, deadline)
        except TimeoutError:
            error = "timed out"
        except ClientOfflineException as failure:
            error = str(failure)
        resolved = _Resolved(resolver.addresses, error or resolver.last_error)
        self._on_lookup(index, tuple(resolved.addresses), resolved.error)
        return resolved

    def _refresh(self, index: int) -> None:
        self._resolvers[index].refresh(max(_MIN_QUERY_TIMEOUT, self._options.connect_timeout))


class _Resolved(NamedTuple):
    """The addresses of a cluster, and the error if its name could not be resolved."""

    addresses: Sequence[str]
    error: str | None = None


def close(link: Link) -> None:
    """Close a link, and end its operations. Takes a second at most, also if the members do not respond."""
    if link.is_connected():
        shutdown = helper_thread(link.client.shutdown, "hazelcast-failover-goodbye")
        shutdown.start()
        with resting():
            shutdown.join(_CLOSE_TIMEOUT)
    link.client.abandon()
    deadline = time.monotonic() + _CLOSE_TIMEOUT
    while not link.is_idle and time.monotonic() < deadline:
        link.end_calls()
        with resting():
            time.sleep(_CLOSE_INTERVAL)
