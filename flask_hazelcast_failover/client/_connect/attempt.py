"""One attempt: one try at one cluster, which ends by its deadline whatever the peers do.

Its addresses are asked in parallel, and an official client is opened on the first member that
answers; on the next one as well when that takes long. It yields the client that opens first, or
raises :class:`AttemptFailed`, which says why for each address.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from hazelcast.config import Config

from flask_hazelcast_failover.client._connect.attempt_addresses import AttemptAddresses, KnownMembers
from flask_hazelcast_failover.client._connect.connect_slots import ConnectSlot, connect_slots
from flask_hazelcast_failover.client._connect.host_lookup import hosts
from flask_hazelcast_failover.client._connect.probe import Probe, ProbeResult, Verdict
from flask_hazelcast_failover.client._connect.tls import tls_context
from flask_hazelcast_failover.client._identity import ClientIdentity
from flask_hazelcast_failover.client._official import OfficialClient, Opening
from flask_hazelcast_failover.client._process.lifecycle import close_in_child

__all__ = ["AttemptFailed", "attempt"]

# How long one member alone may take to open before the next is tried beside it, seconds at most.
_HEDGE = 0.5
# How long known members have to answer once all configured addresses have failed, seconds; and the share of an
# attempt that the configured addresses have for themselves where they go first.
_AFTER_REFUSALS, _SHARE_OF_CONFIGURED = 0.5, 2 / 3
# How long the threads of a failed attempt are waited for, seconds.
_TIDYING = 0.1
_BUSY = "timed out: authenticated, but this process was busy with other connections"


class AttemptFailed(Exception):
    """No connection was made. ``verdict`` says whether somebody refused or nobody answered."""

    def __init__(self, why: str, verdict: Verdict) -> None:
        super().__init__(why)
        self.verdict = verdict


BuildConfig = Callable[[Sequence[str]], Config]


def attempt(
    addresses: AttemptAddresses,
    build_config: BuildConfig,
    deadline: float,
    *,
    known_members: KnownMembers = KnownMembers.AT_ONCE,
    former: ClientIdentity | None = None,
) -> OfficialClient:
    """Open an official client on a cluster.

    :param addresses: where members may be
    :param build_config: gives a fresh configuration for the addresses that it is given
    :param deadline: when the attempt is over, monotonic seconds
    :param known_members: when the members are asked that are not configured
    :param former: by what the members know this client already, if they do
    :raises AttemptFailed: no member could be reached in time
    """
    with _Attempt(addresses, build_config, deadline, known_members, former) as trying:
        return trying.run()


@dataclass
class _Member:
    """A member that takes us, and the official client that is being opened on it."""

    name: str
    probe: Probe
    connection: socket.socket
    opening: Opening | None = None
    why: str | None = None  # it is of no use any more


@dataclass(frozen=True)
class _Looked:
    """A host name was looked up."""

    address: str
    ips: Sequence[str]
    why: str = ""


class _Attempt:
    """Everything that is under way for one attempt; all of it ends with the ``with`` block.

    Threads only tell it what ended: it belongs to the one that runs it.
    """

    def __init__(
        self,
        places: AttemptAddresses,
        build_config: BuildConfig,
        deadline: float,
        known_members: KnownMembers,
        former: ClientIdentity | None,
    ) -> None:
        addresses = places.configured
        self._places = places
        self._build_config = build_config
        self._deadline = deadline
        self._former = former
        self._config = build_config(addresses)
        self._context = _tls_context(self._config)
        self._inbox: deque[_Looked | Probe | Opening] = deque()  # appended to by any thread
        self._waker, self._wakes = (close_in_child(end) for end in socket.socketpair())
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._pending = 0  # lookups and probes that have not ended
        self._pending_known = 0  # those of them at addresses that are only known
        self._unasked = places.known  # known addresses that are not asked yet
        self._refused_at: float | None = None  # when the last of the configured addresses had failed
        now = time.monotonic()
        # Where the configured addresses stay silent, the known ones have the rest of the attempt.
        self._ask_known_at = now + (deadline - now) * _SHARE_OF_CONFIGURED
        self._said: dict[str, ProbeResult] = {}  # address -> what came of it
        self._lookups: list[threading.Thread] = []
        self._probes: list[Probe] = []
        self._members: list[_Member] = []
        self._slot: ConnectSlot | None = None  # from the first member that answers on
        self._opened_last = 0.0
        self._won: OfficialClient | None = None
        for address in addresses:
            self._begin(address)
        if known_members is KnownMembers.AT_ONCE:
            self._ask_known()

    def __enter__(self) -> _Attempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._selector.close()
        if self._slot is not None:
            self._slot.release()
        for probe in self._probes:
            probe.end()
        ending = [
            member.opening.cancel()
            for member in self._members
            if member.opening is not None and member.opening.client is not self._won
        ]
        patience = time.monotonic() + (_TIDYING if self._won is None else 0.0)
        for probe in self._probes:
            probe.close(patience)
        for thread in (*ending, *self._lookups):
            thread.join(max(0.0, patience - time.monotonic()))
        self._waker.close()
        self._wakes.close()

    def run(self) -> OfficialClient:
        """Wait for the first client that opens."""
        while (left := self._time_left()) > 0:
            self._open_next()
            if not self._pending and not self._unasked and not self._has_member():
                break
            for key, _ in self._selector.select(min(left, self._hedge(), self._time_to_known())):
                self._ready(key)
            while self._inbox:
                client = self._take(self._inbox.popleft())
                if client is not None:
                    self._won = client
                    return client
        raise self._failure()

    # Members that are known and not configured.

    def _ask_known(self) -> None:
        unasked, self._unasked = self._unasked, frozenset()
        for address in unasked:
            self._pending_known += 1
            self._begin(address)

    def _time_left(self) -> float:
        """Seconds until the attempt is over: soon after the configured addresses have all failed."""
        now = time.monotonic()
        has_configured = self._pending > self._pending_known or self._has_member()
        if has_configured:
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = now
        if self._unasked and (not has_configured or now >= self._ask_known_at):
            self._ask_known()
        ends = self._deadline if self._refused_at is None else self._refused_at + _AFTER_REFUSALS
        return min(self._deadline, ends) - now

    def _time_to_known(self) -> float:
        return max(0.001, self._ask_known_at - time.monotonic()) if self._unasked else float("inf")

    def _has_member(self) -> bool:
        return any(member.why is None for member in self._members)

    # From addresses to members.

    def _begin(self, address: str) -> None:
        self._pending += 1
        host = address.rpartition(":")[0]
        if _is_ip(host):
            self._probe(address, host)
            return
        self._said[address] = ProbeResult(Verdict.ABSENT, "timed out: the name was not looked up in time")
        thread = threading.Thread(
            target=self._look_up, args=(address, host), name="hazelcast-failover-probe", daemon=True
        )
        self._lookups.append(thread)
        thread.start()

    def _look_up(self, address: str, host: str) -> None:
        try:
            self._tell(_Looked(address, hosts.get(host, self._deadline)))
        except TimeoutError:
            pass  # the attempt is over as well
        except socket.gaierror as error:
            self._tell(_Looked(address, (), f"name not found ({error.strerror})"))
        except Exception as error:  # a name that no resolver takes
            self._tell(_Looked(address, (), f"name not found ({error})"))

    def _looked(self, looked: _Looked) -> None:
        is_known = looked.address in self._places.known
        self._pending -= 1
        self._pending_known += is_known * (len(looked.ips) - 1)
        if not looked.ips:
            self._said[looked.address] = ProbeResult(Verdict.ABSENT, looked.why or "name not found")
            return
        del self._said[looked.address]
        for ip in looked.ips:
            self._pending += 1
            self._probe(looked.address, ip)

    def _probe(self, address: str, ip: str) -> None:
        cluster = self._places.cluster if address in self._places.known else None
        probe = Probe(
            address,
            ip,
            config=self._config,
            context=self._context,
            deadline=self._deadline,
            done=self._tell,
            expected=cluster.id if cluster else None,
        )
        self._probes.append(probe)

    def _answered(self, probe: Probe) -> None:
        self._pending -= 1
        self._pending_known -= probe.address in self._places.known
        answer = probe.answer
        self._said[_name(probe)] = answer
        if answer.connection is not None:
            answer.connection.setblocking(False)
            member = _Member(_name(probe), probe, answer.connection)
            self._selector.register(answer.connection, selectors.EVENT_READ, member)
            self._members.append(member)

    # From members to a client.

    def _open_next(self) -> None:
        """Open a client on the next member, if there is one and the others take too long."""
        waiting = [member for member in self._members if member.opening is None and member.why is None]
        is_opening = any(member.opening is not None and member.why is None for member in self._members)
        now = time.monotonic()
        if not waiting or (is_opening and now < self._opened_last + self._patience(len(waiting))):
            return
        if self._slot is None:
            self._slot = connect_slots.queue(self._wake)
        if not self._slot.is_ready:
            return
        member, self._opened_last = waiting[0], now
        config = self._build_config([self._dialled(member.probe)])
        # Only one client at a time may go by the former id.
        is_taken = any(other.opening is not None and other.why is None for other in self._members)
        former = None if is_taken else self._former
        member.opening = Opening(config, former, on_done=self._tell)

    def _patience(self, waiting: int) -> float:
        return min(_HEDGE, (self._deadline - self._opened_last) / (waiting + 1))

    def _hedge(self) -> float:
        """Seconds until the next member may be opened."""
        waiting = sum(1 for member in self._members if member.opening is None and member.why is None)
        if not waiting or self._slot is None or not self._slot.is_ready:
            return float("inf")  # an answer or our slot will wake us
        return max(0.001, self._opened_last + self._patience(waiting) - time.monotonic())

    def _dialled(self, probe: Probe) -> str:
        """The address for the official client: the one that answered, unless the host's name matters."""
        config = self._config
        if config.token_provider or (config.ssl_enabled and config.ssl_check_hostname):
            return probe.address
        return f"{probe.ip}:{probe.port}"

    def _opened(self, opening: Opening) -> OfficialClient | None:
        member = next(member for member in self._members if member.opening is opening)
        if opening.error is not None:
            verdict = Verdict.REFUSING if opening.is_unsupported else Verdict.ABSENT
            self._give_up(member, ProbeResult(verdict, opening.error))
            return None
        cluster = self._places.cluster if member.probe.address in self._places.known else None
        if cluster is not None and opening.client.cluster_id != cluster.id:
            self._give_up(member, ProbeResult(Verdict.REFUSING, "joined another cluster meanwhile"))
            return None
        return opening.client

    def _give_up(self, member: _Member, answer: ProbeResult) -> None:
        member.why = answer.why
        self._said[member.name] = answer

    # What the threads tell.

    def _tell(self, what: _Looked | Probe | Opening) -> None:
        self._inbox.append(what)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # the attempt is over
            self._waker.send(b"!")

    def _take(self, what: _Looked | Probe | Opening) -> OfficialClient | None:
        if isinstance(what, Opening):
            return self._opened(what)
        if isinstance(what, Probe):
            self._answered(what)
        else:
            self._looked(what)
        return None

    def _ready(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._wakes:
            self._wakes.recv(4096)
        elif _hung_up(key.data.connection):
            # The official client would need 0.1 s and more to notice.
            self._selector.unregister(key.fileobj)
            why = "closed by the other side after authenticating"
            self._give_up(key.data, ProbeResult(Verdict.ABSENT, why))

    def _failure(self) -> AttemptFailed:
        for probe in self._probes:
            if _name(probe) not in self._said and probe.answer.connection is None:
                self._said[_name(probe)] = probe.answer  # how far it has come
        for member in self._members:
            if member.why is None:
                has_begun = member.opening is not None
                why = "timed out: authenticated, but no member list came" if has_begun else _BUSY
                self._give_up(member, ProbeResult(Verdict.ABSENT, why))
        why = "; ".join(f"{name}: {answer.why}" for name, answer in sorted(self._said.items()))
        return AttemptFailed(why, Verdict.REFUSING if self._is_refused_everywhere() else Verdict.ABSENT)

    def _is_refused_everywhere(self) -> bool:
        """Where one address is merely absent, the cluster may come back there at any moment, whoever has the others."""
        named = self._places.named
        answers = ((probe.address, self._said.get(_name(probe))) for probe in self._probes)
        refusing = {address for address, answer in answers if answer and answer.verdict is Verdict.REFUSING}
        return bool(named) and refusing >= named


def _tls_context(config: Config) -> ssl.SSLContext | None:
    try:
        return tls_context(config)
    except (OSError, ValueError) as error:
        raise AttemptFailed(f"TLS: the settings are of no use: {error}", Verdict.REFUSING) from None


def _name(probe: Probe) -> str:
    return probe.address if probe.host == probe.ip else f"{probe.address} ({probe.ip})"


def _is_ip(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _hung_up(connection: socket.socket) -> bool:
    try:
        return not connection.recv(65536)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False  # what came was no more than TLS's own
    except OSError:
        return True
