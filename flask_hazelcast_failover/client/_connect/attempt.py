"""One attempt: one try to connect to one cluster, which ends by its deadline whatever the peers do.

1. All configured addresses are looked up and probed in parallel: ``discovery``.
2. An official client is opened on the first member that accepts its probe: ``hedged_opening``. If that takes long, a
   second one is opened on the next member beside it, and so on. The client that opens first is the result.
3. Members that are only known from an earlier connection are probed too: at once, or when the configured addresses have
   failed or have used up their share of the time.
4. If no client opens, ``AttemptFailed`` says why for each address, or for ten of them.

An attempt probes 64 addresses at most, whatever is configured and whatever names lead to, chosen by chance each time.

Lookups, probes and openings run on threads of their own, which post to the attempt's thread when they end. All of them end
with the attempt.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType

from hazelcast.config import Config

from ..._foreign_text import MAX_LISTED, MAX_MESSAGE, listed, printable
from ..._threads import resting
from .._identity import ClientIdentity
from .._official import OfficialClient, Opening
from .._process.lifecycle import close_in_child
from .attempt_addresses import AttemptAddresses, KnownMembers
from .discovery import Discovery, Lookup
from .hedged_opening import BuildConfig, HedgedOpening, Member
from .probe import Probe, ProbeResult, Verdict
from .tls import tls_context

# How long known members may take after all configured addresses have failed, seconds; and the share of the attempt's
# time before known members are probed too, where they come last.
_KNOWN_TIMEOUT, _CONFIGURED_SHARE = 0.5, 2 / 3
# How long a failed attempt waits for its threads, seconds.
_JOIN_TIMEOUT = 0.1


class AttemptFailed(Exception):
    """No connection was made. ``verdict`` says whether all addresses refused it, or one may only be absent.

    The message is one line of 2048 characters at most, whatever members and name servers have sent.
    """

    def __init__(self, why: str, verdict: Verdict) -> None:
        super().__init__(printable(why))
        self.verdict = verdict


def attempt(
    addresses: AttemptAddresses,
    build_config: BuildConfig,
    deadline: float,
    *,
    known_members: KnownMembers = KnownMembers.AT_ONCE,
    former: ClientIdentity | None = None,
    max_message_size: int = OfficialClient.max_message_size,
) -> OfficialClient:
    """Open an official client on a cluster.

    :param addresses: where members may be
    :param build_config: returns a new configuration for the addresses that it is passed
    :param deadline: when the attempt ends, monotonic seconds
    :param known_members: when to probe members that are known and not configured
    :param former: the identity of the client that this one replaces
    :param max_message_size: bytes of one answer of a member
    :raises AttemptFailed: no member could be reached in time
    """
    with _Attempt(addresses, build_config, deadline, known_members, former, max_message_size) as current:
        return current.run()


class _Attempt:
    """What is under way for one attempt; ends with the ``with`` block. Owned by the thread that runs it."""

    def __init__(
        self,
        addresses: AttemptAddresses,
        build_config: BuildConfig,
        deadline: float,
        known_members: KnownMembers,
        former: ClientIdentity | None,
        max_message_size: int,
    ) -> None:
        configured = addresses.configured
        config = build_config(configured)
        context = _tls_context(config)
        self._addresses = addresses
        self._deadline = deadline
        self._inbox: deque[Lookup | Probe | Opening] = deque()  # appended to by any thread
        self._waker, self._wake_ups = (close_in_child(end) for end in socket.socketpair())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_ups, selectors.EVENT_READ)
        self._discovery = Discovery(addresses, config, context, deadline, self._post)
        self._opening = HedgedOpening(
            build_config, config, deadline, former, self._post, self._wake, max_message_size
        )
        self._unprobed = addresses.known  # known addresses that are not probed yet
        now = time.monotonic()
        self._probe_known_at = now + (deadline - now) * _CONFIGURED_SHARE
        self._configured_failed_at: float | None = None
        self._client: OfficialClient | None = None
        self._discovery.start(configured)
        if known_members is KnownMembers.AT_ONCE:
            self._probe_known()

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._selector.close()
        lookups = self._discovery.cancel()
        closing = self._opening.cancel(winner=self._client)
        deadline = time.monotonic() + (_JOIN_TIMEOUT if self._client is None else 0.0)
        self._discovery.close(deadline)
        for thread in (*closing, *lookups):
            with resting():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._waker.close()
        self._wake_ups.close()

    def run(self) -> OfficialClient:
        """Wait for the first client that opens."""
        while (left := self._time_left()) > 0:
            self._opening.start_next()
            if not (self._discovery.is_pending or self._unprobed or self._opening.has_usable_member):
                break
            timeout = min(left, self._opening.seconds_to_next(), self._seconds_to_known())
            with resting():
                readable = self._selector.select(timeout)
            for key, _ in readable:
                self._on_readable(key)
            while self._inbox:
                self._client = self._handle(self._inbox.popleft())
                if self._client is not None:
                    return self._client
        raise self._failure()

    def _time_left(self) -> float:
        """Seconds until the attempt ends: soon after the configured addresses have all failed."""
        now = time.monotonic()
        if self._discovery.is_configured_pending or self._opening.has_usable_member:
            self._configured_failed_at = None
        elif self._configured_failed_at is None:
            self._configured_failed_at = now
        if self._configured_failed_at is not None or now >= self._probe_known_at:
            self._probe_known()
        if self._configured_failed_at is None:
            return self._deadline - now
        return min(self._deadline, self._configured_failed_at + _KNOWN_TIMEOUT) - now

    def _seconds_to_known(self) -> float:
        return max(0.001, self._probe_known_at - time.monotonic()) if self._unprobed else float("inf")

    def _probe_known(self) -> None:
        unprobed, self._unprobed = self._unprobed, frozenset()
        self._discovery.start(unprobed)

    def _post(self, ended: Lookup | Probe | Opening) -> None:
        """On any thread: have the attempt's thread handle what has ended."""
        self._inbox.append(ended)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the attempt is over
            self._waker.send(b"!")

    def _handle(self, ended: Lookup | Probe | Opening) -> OfficialClient | None:
        if isinstance(ended, Opening):
            return self._opening.on_opened(ended)
        if isinstance(ended, Lookup):
            self._discovery.on_lookup(ended)
            return None
        self._discovery.on_probe(ended)
        connection = ended.result.connection
        if connection is not None:
            connection.setblocking(False)
            member = Member(ended, connection)
            self._selector.register(connection, selectors.EVENT_READ, member)
            self._opening.members.append(member)
        return None

    def _on_readable(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._wake_ups:
            self._wake_ups.recv(4096)
        elif _is_closed(key.data.connection):
            # The official client needs 0.1 s and more to notice.
            self._selector.unregister(key.fileobj)
            key.data.failure = ProbeResult(Verdict.ABSENT, "closed by the other side after authenticating")

    def _failure(self) -> AttemptFailed:
        results = self._discovery.results()
        for member in self._opening.members:
            if member.opening is not None:
                why = "timed out: authenticated, but no member list came"
            else:
                why = "timed out: authenticated, but this process was busy with other connections"
            results[member.probe.name] = member.failure or ProbeResult(Verdict.ABSENT, why)
        # Where one address is only absent, the cluster may come back there at any moment; so it may where none looked.
        named, left_out = self._addresses.named, self._discovery.left_out
        is_refused = bool(named) and not left_out and self._discovery.refusing_addresses(results) >= named
        return AttemptFailed(_describe(results, left_out), Verdict.REFUSING if is_refused else Verdict.ABSENT)


def _describe(results: Mapping[str, ProbeResult], left_out: int) -> str:
    """Ten results, those first that somebody has to mend, and how many more there are."""
    tried = f"{len(results):,} of {len(results) + left_out:,} addresses were tried: " if left_out else ""
    by_weight = sorted(results, key=lambda name: (results[name].verdict is not Verdict.REFUSING, name))
    shown = sorted(by_weight[:MAX_LISTED]) + by_weight[MAX_LISTED:]
    reasons = [f"{name}: {results[name].why}" for name in shown]
    return tried + listed(reasons, "; ", limit=MAX_MESSAGE - len(tried))


def _tls_context(config: Config) -> ssl.SSLContext | None:
    try:
        return tls_context(config)
    except (OSError, ValueError) as error:
        raise AttemptFailed(f"TLS: the settings are of no use: {error}", Verdict.REFUSING) from None


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(65536)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False  # what came belongs to TLS itself
    except OSError:
        return True
