"""A real DNS server on loopback with scripted answers, and dnspython configured to use it."""

from __future__ import annotations

import contextlib
import enum
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import dns.name
import dns.nameserver
import dns.resolver
from dnslib import CNAME, QTYPE, RCODE, RR, A, DNSError, DNSRecord
from dnslib.server import DNSHandler, DNSLogger, DNSServer

__all__ = ["Addresses", "Failure", "LoopbackDns", "Reply", "default_resolver", "no_dns_server_configured"]

_PORT_ATTEMPTS = 20


@dataclass(frozen=True)
class Addresses:
    """An answer with A records, after a chain of CNAMEs if ``through`` is given."""

    ips: tuple[str, ...]
    through: tuple[str, ...] = ()
    after: float = 0.0
    over_tcp_only: bool = False


class Failure(enum.Enum):
    """An answer without an address."""

    SERVFAIL = enum.auto()
    REFUSED = enum.auto()
    NXDOMAIN = enum.auto()
    EMPTY = enum.auto()
    SILENCE = enum.auto()


Reply = Addresses | Failure


class LoopbackDns:
    """Answers over UDP and TCP at a free port of 127.0.0.1, inside its ``with`` block.

    Names without a reply do not exist. With several replies for a name, each query takes the next one; the last one
    is repeated.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replies: dict[str, list[Reply]] = {}  # under _lock
        self._queries: Counter[str] = Counter()  # under _lock
        self._transports: defaultdict[str, list[str]] = defaultdict(list)  # under _lock
        self._servers: list[DNSServer] = []
        self.port = 0

    def answer(self, name: str, *ips: str, through: tuple[str, ...] = (), after: float = 0.0) -> None:
        """Answer with these addresses from now on, `after` so many seconds."""
        self.reply(name, Addresses(ips, through, after))

    def reply(self, name: str, *replies: Reply) -> None:
        """Use these replies from now on, one after the other."""
        with self._lock:
            self._replies[_key(name)] = list(replies)

    def queries(self, name: str) -> int:
        """The number of queries for a name."""
        with self._lock:
            return self._queries[_key(name)]

    def transports(self, name: str) -> list[str]:
        """The transport of each query for a name: "udp" or "tcp"."""
        with self._lock:
            return list(self._transports[_key(name)])

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        name = _key(str(request.q.qname))
        with self._lock:
            self._queries[name] += 1
            self._transports[name].append(handler.protocol)
            left = self._replies.get(name, [Failure.NXDOMAIN])
            reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Failure):
            return _failure(request, reply)
        time.sleep(reply.after)
        return _addresses(request, reply, handler.protocol)

    def __enter__(self) -> LoopbackDns:
        for _ in range(_PORT_ATTEMPTS):
            udp = DNSServer(self, address="127.0.0.1", port=0, logger=_no_log())
            self.port = udp.server.server_address[1]
            try:
                tcp = DNSServer(self, address="127.0.0.1", port=self.port, tcp=True, logger=_no_log())
            except OSError:
                udp.server.server_close()
                continue
            self._servers = [udp, tcp]
            for server in self._servers:
                server.thread = threading.Thread(
                    target=server.server.serve_forever, args=(0.01,), daemon=True
                )
                server.thread.start()
            return self
        raise OSError("no port is free for both UDP and TCP")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.stop()
            server.server.server_close()
            server.thread.join(5)


@contextlib.contextmanager
def default_resolver(
    *servers: LoopbackDns, search: tuple[str, ...] = (), lifetime: float = 2.0
) -> Iterator[None]:
    """Have dnspython's default resolver query these servers, in this order."""
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", server.port) for server in servers]
    resolver.search = [dns.name.from_text(suffix) for suffix in search]
    resolver.lifetime = lifetime
    with _default_resolver(resolver):
        yield


@contextlib.contextmanager
def no_dns_server_configured() -> Iterator[None]:
    """Leave dnspython without a default resolver, and without a file to create one from."""
    make = dns.resolver.Resolver

    def without_file() -> dns.resolver.Resolver:
        return make(filename="/nowhere/resolv.conf")

    dns.resolver.Resolver = without_file  # type: ignore[misc, assignment]
    try:
        with _default_resolver(None):
            yield
    finally:
        dns.resolver.Resolver = make  # type: ignore[misc]


@contextlib.contextmanager
def _default_resolver(resolver: dns.resolver.Resolver | None) -> Iterator[None]:
    before = dns.resolver.default_resolver
    dns.resolver.default_resolver = resolver
    try:
        yield
    finally:
        dns.resolver.default_resolver = before


def _no_log() -> DNSLogger:
    return DNSLogger(log="-request,-reply,-truncated,-error", prefix=False)


def _key(name: str) -> str:
    return name.rstrip(".").lower()


def _failure(request: DNSRecord, failure: Failure) -> DNSRecord:
    if failure is Failure.SILENCE:
        raise DNSError("silent on purpose")
    answer = request.reply()
    if failure is not Failure.EMPTY:
        answer.header.rcode = getattr(RCODE, failure.name)
    return answer


def _addresses(request: DNSRecord, reply: Addresses, transport: str) -> DNSRecord:
    answer = request.reply()
    if reply.over_tcp_only and transport == "udp":
        answer.header.tc = 1
        return answer
    owner = str(request.q.qname)
    for target in reply.through:
        answer.add_answer(RR(owner, QTYPE.CNAME, rdata=CNAME(target), ttl=60))
        owner = target
    for ip in reply.ips:
        answer.add_answer(RR(owner, QTYPE.A, rdata=A(ip), ttl=60))
    return answer
