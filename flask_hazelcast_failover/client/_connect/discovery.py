"""From addresses to members: looks up host names and probes every IP address, all in parallel."""

from __future__ import annotations

import math
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hazelcast.config import Config

from ..._threads import helper_thread
from .attempt_addresses import MAX_ADDRESSES, AttemptAddresses, sample
from .host_lookup import hosts
from .probe import Probe, ProbeResult, Verdict


@dataclass(frozen=True)
class Lookup:
    """A lookup of a host name that has ended."""

    address: str
    ips: Sequence[str]
    error: str = ""


class Discovery:
    """The lookups and probes of one attempt, in whose thread all methods are called.

    :param addresses: those of the attempt
    :param config: to authenticate with
    :param context: the TLS settings, or ``None``
    :param deadline: when to give up, monotonic seconds
    :param post: called on other threads with what has ended; pass it to ``on_lookup`` or ``on_probe``
    """

    def __init__(
        self,
        addresses: AttemptAddresses,
        config: Config,
        context: ssl.SSLContext | None,
        deadline: float,
        post: Callable[[Lookup | Probe], None],
    ) -> None:
        self._addresses = addresses
        self._config = config
        self._context = context
        self._deadline = deadline
        self._post = post
        self._pending: Counter[str] = Counter()  # address -> lookups and probes that have not ended
        self._results: dict[str, ProbeResult] = {}  # by Probe.name
        self._lookups: list[threading.Thread] = []
        self._probes: list[Probe] = []
        # Each address may have one probe; what is left of the limit is for the further IP addresses of names.
        every = addresses.named | addresses.further | addresses.known
        self._free = max(0, MAX_ADDRESSES - len(every))
        self._names = sum(not _is_ip(_host(address)) for address in every)  # that are not looked up yet
        self.left_out = addresses.left_out
        """How many addresses there are that this attempt does not probe."""

    @property
    def is_pending(self) -> bool:
        """Whether an address may still turn out to be a member."""
        return self._pending.total() > 0

    @property
    def is_configured_pending(self) -> bool:
        """The same for the configured addresses only."""
        return any(count for address, count in self._pending.items() if address not in self._addresses.known)

    def start(self, addresses: Iterable[str]) -> None:
        """Start with the lookup or the probe of each address."""
        for address in addresses:
            self._pending[address] += 1
            host = _host(address)
            if _is_ip(host):
                self._probe(address, host)
            else:
                self._look_up(address, host)

    def on_lookup(self, lookup: Lookup) -> None:
        """Probe the IP addresses that a lookup has found."""
        ips = self._chosen(lookup.ips)
        self._pending[lookup.address] += len(ips) - 1
        if not ips:
            self._results[lookup.address] = ProbeResult(Verdict.ABSENT, lookup.error or "name not found")
            return
        del self._results[lookup.address]
        for ip in ips:
            self._probe(lookup.address, ip)

    def on_probe(self, probe: Probe) -> None:
        """Keep the result of a probe that has ended."""
        self._pending[probe.address] -= 1
        self._results[probe.name] = probe.result

    def results(self) -> dict[str, ProbeResult]:
        """The result by ``Probe.name``; of a probe that has not ended, how far it got."""
        unfinished = {probe.name: probe.result for probe in self._probes if probe.result.connection is None}
        return {**unfinished, **self._results}

    def refusing_addresses(self, results: dict[str, ProbeResult]) -> set[str]:
        """The addresses, as configured, with a result that is a refusal."""
        return {
            probe.address
            for probe in self._probes
            if probe.name in results and results[probe.name].verdict is Verdict.REFUSING
        }

    def cancel(self) -> list[threading.Thread]:
        """End all probes; returns the threads of lookups, which end by themselves."""
        for probe in self._probes:
            probe.cancel()
        return self._lookups

    def close(self, deadline: float) -> None:
        """After ``cancel``: wait for the probes until ``deadline`` (monotonic seconds) and close their connections."""
        for probe in self._probes:
            probe.close(deadline)

    def _look_up(self, address: str, host: str) -> None:
        self._results[address] = ProbeResult(Verdict.ABSENT, "timed out: the name was not looked up in time")

        def look_up() -> None:
            try:
                self._post(Lookup(address, hosts.get(host, self._deadline)))
            except TimeoutError:
                pass  # the attempt is over too
            except socket.gaierror as error:
                self._post(Lookup(address, (), f"name not found ({error.strerror})"))
            except Exception as error:  # not a valid host name
                self._post(Lookup(address, (), f"name not found ({error})"))

        thread = helper_thread(look_up, "hazelcast-failover-probe")
        self._lookups.append(thread)
        thread.start()

    def _chosen(self, ips: Sequence[str]) -> list[str]:
        """Those of a name's addresses to probe: by chance, and no more than leaves the other names their share."""
        share = 1 + math.ceil(self._free / max(1, self._names))
        chosen = sample(ips, share)
        self._names -= 1
        self._free -= len(chosen) - 1
        self.left_out += len(ips) - len(chosen)
        return chosen

    def _probe(self, address: str, ip: str) -> None:
        cluster = self._addresses.cluster if address in self._addresses.known else None
        probe = Probe(
            address,
            ip,
            config=self._config,
            context=self._context,
            deadline=self._deadline,
            on_done=self._post,
            expected_cluster=cluster.id if cluster else None,
        )
        self._probes.append(probe)


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _is_ip(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
