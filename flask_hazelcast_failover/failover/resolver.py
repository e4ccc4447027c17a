"""CNAMEResolver: resolves a DNS name to the addresses of a cluster's members, and keeps them if DNS fails."""

from __future__ import annotations

import copy
import ipaddress
import logging
import threading
import time

import dns.exception
import dns.name
import dns.resolver

from .._arguments import checked_port, checked_seconds
from .._foreign_text import listed, printable
from .._threads import Notifier, reset_in_child, resting
from ..errors import ClientOfflineException
from ._addresses import checked_host

__all__ = ["CNAMEResolver", "checked_dns_name"]

_LOOKUP_TIMEOUT = 7.0
"""Seconds. dnspython may take 2 s longer, and 10 s are promised."""

_OVERRUN = 2.5
"""Seconds after its timeout until a lookup is considered lost."""

_PAUSE_AFTER_FAILURE = 5.0
"""Seconds for which resolve() returns the last known addresses after a failed lookup."""

_MAX_REASON = 1024
"""The length of the longest ``last_error``, in characters; messages have the name and the addresses besides."""

_log = logging.getLogger("flask_hazelcast_failover.dns")


class CNAMEResolver:
    """Resolves a DNS name, through whatever CNAMEs, to the addresses of a cluster's members.

    A failed lookup keeps the last known addresses; ``last_error`` says why it failed. Thread-safe: a lookup
    runs in the caller's thread, and concurrent callers wait for its answer.

    :param dns_name: the name to look up, with the search list if it is a short one; an IPv4 address is
        returned as it is
    :param port: the port of every member
    :param refresh_interval: seconds until ``resolve`` looks it up again
    :raises TypeError: for an argument of the wrong type
    :raises ValueError: for a malformed name, a port out of range, a negative interval
    """

    def __init__(self, dns_name: str, port: int = 5701, refresh_interval: float = 60.0) -> None:
        self._dns_name = checked_dns_name(dns_name)
        self._port = checked_port("port", port)
        self._refresh_interval = checked_seconds("refresh_interval", refresh_interval)
        self._busy_until: float | None = None
        self._init_locks()
        reset_in_child(self, CNAMEResolver._init_locks)
        # All below: under _lock, which is never held during a lookup.
        self._addresses: tuple[str, ...] = ()
        self._last_error: str | None = None
        self._valid_until = 0.0
        self._lookups_done = 0

    @property
    def dns_name(self) -> str:
        """The name that is looked up."""
        return self._dns_name

    @property
    def port(self) -> int:
        """The port of every member."""
        return self._port

    @property
    def refresh_interval(self) -> float:
        """Seconds until ``resolve`` looks the name up again."""
        return self._refresh_interval

    @property
    def addresses(self) -> tuple[str, ...]:
        """The last known ``"ip:port"``; empty before the first answer."""
        with self._lock:
            return self._addresses

    @property
    def last_error(self) -> str | None:
        """Why the last lookup failed; ``None`` if it did not."""
        with self._lock:
            return self._last_error

    def resolve(self) -> list[str]:
        """Return ``["ip:port", ...]``, at most ``refresh_interval`` seconds old unless DNS fails.

        :raises ClientOfflineException: if no lookup has ever succeeded, within 10 s
        """
        with self._lock:
            if self._addresses and time.monotonic() < self._valid_until:
                return list(self._addresses)
        return self._look_up_once(_LOOKUP_TIMEOUT)

    def refresh(self, timeout: float | None = None) -> list[str]:
        """Look the name up now; return ``["ip:port", ...]``, the last known ones if that fails.

        :param timeout: seconds; ``None``: as dnspython is configured, within 10 s
        :raises ClientOfflineException: if no lookup has ever succeeded
        """
        limit = _LOOKUP_TIMEOUT if timeout is None else checked_seconds("timeout", timeout)
        return self._look_up_once(min(limit, _LOOKUP_TIMEOUT))

    def __repr__(self) -> str:
        return (
            f"CNAMEResolver(dns_name={self._dns_name!r}, port={self._port}, "
            f"refresh_interval={self._refresh_interval:g})"
        )

    def _look_up_once(self, limit: float) -> list[str]:
        """Look the name up, or wait for the lookup of another thread, for ``limit`` seconds at most."""
        deadline = time.monotonic() + limit
        with self._lock:
            seen = self._lookups_done
        while True:
            with self._lock:
                if self._lookups_done != seen:
                    return self._known("")
                now = time.monotonic()
                if self._busy_until is None or now >= self._busy_until:
                    # An end, since a lookup may be interrupted.
                    self._busy_until = deadline + _OVERRUN
                    break
                left = min(deadline, self._busy_until) - now
                if now >= deadline:
                    return self._known("timed out")
            self._changes.wait_for(lambda: self._lookups_done != seen, left)
        return self._look_up_and_keep(limit)

    def _init_locks(self) -> None:
        self._lock = threading.Lock()
        self._changes = Notifier()
        self._busy_until = None  # in a forked child nobody looks it up

    def _look_up_and_keep(self, limit: float) -> list[str]:
        found: tuple[str, ...] = ()
        reason = "interrupted"
        try:
            found = _look_up(self._dns_name, self._port, limit)
        except Exception as error:  # a resolver that the app has installed may raise anything
            reason = printable(_reason(error), _MAX_REASON)
        finally:
            with self._lock:
                first_failure = not found and self._last_error is None
                recovered = bool(found) and self._last_error is not None
                self._keep(found, reason)
                known = self._addresses
        self._changes.notify()
        if first_failure:
            kept = f"keeping {listed(known)}" if known else "no address is known"
            _log.warning("DNS name %s: lookup failed: %s; %s", self._dns_name, reason, kept)
        elif recovered:
            _log.info("DNS name %s: lookups work again: %s", self._dns_name, listed(known))
        with self._lock:
            return self._known(reason)

    def _keep(self, found: tuple[str, ...], reason: str) -> None:
        """Store the result of a lookup. The caller holds ``_lock``."""
        if found:
            self._addresses = found
            self._last_error = None
            valid_for = self._refresh_interval
        else:
            self._last_error = reason
            valid_for = min(self._refresh_interval, _PAUSE_AFTER_FAILURE)
        self._valid_until = time.monotonic() + valid_for
        self._lookups_done += 1
        self._busy_until = None

    def _known(self, reason: str) -> list[str]:
        """Return the last known addresses; raise if there are none. The caller holds ``_lock``."""
        if self._addresses:
            return list(self._addresses)
        why = self._last_error or reason
        raise ClientOfflineException(f"no address is known for the DNS name {self._dns_name!r}: {why}")


def checked_dns_name(dns_name: object) -> str:
    """Require a name that DNS can look up.

    :raises TypeError: if it is no string
    :raises ValueError: if it is malformed
    """
    name = checked_host("dns_name", dns_name)
    try:
        dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"dns_name must be a name that DNS can hold, got {name!r}: {error}") from None
    return name


def _look_up(name: str, port: int, limit: float) -> tuple[str, ...]:
    """Return every address of ``name`` as ``"ip:port"``, in the order of the answer."""
    try:
        return (f"{ipaddress.IPv4Address(name)}:{port}",)
    except ValueError:
        pass
    resolver = dns.resolver.get_default_resolver()
    # A resolver that the app has installed may have nothing but resolve().
    if getattr(resolver, "cache", None) is not None:
        resolver = copy.copy(resolver)
        resolver.cache = None  # refresh() must not return a cached answer
    lifetime = min(limit, getattr(resolver, "lifetime", limit))
    with resting():
        answer = resolver.resolve(name, "A", search=True, lifetime=lifetime)
    return tuple(f"{record.address}:{port}" for record in answer)


def _reason(error: Exception) -> str:
    """Describe a failed lookup."""
    if isinstance(error, dns.resolver.NXDOMAIN):
        return "NXDOMAIN (there is no such name)"
    if isinstance(error, dns.resolver.NoAnswer):
        return "empty answer (the name has no A record)"
    if isinstance(error, dns.exception.Timeout):
        return "timed out"
    if isinstance(error, dns.resolver.NoNameservers):
        return _reasons_of_servers(error)
    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return "no DNS server is configured (is there an /etc/resolv.conf?)"
    return f"{type(error).__name__}: {error}"


def _reasons_of_servers(error: dns.resolver.NoNameservers) -> str:
    reasons = {
        f"{server} answered {why}" if isinstance(why, str) else f"{server}: {why or type(why).__name__}"
        for server, _, _, why, _ in error.kwargs.get("errors", [])
    }
    return listed(sorted(reasons), limit=_MAX_REASON) or "no DNS server is configured"
