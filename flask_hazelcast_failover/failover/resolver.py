"""CNAMEResolver: from a DNS name to the addresses of a cluster's members, kept through failures of DNS."""

from __future__ import annotations

import copy
import ipaddress
import logging
import threading
import time

import dns.exception
import dns.name
import dns.resolver

from flask_hazelcast_failover._arguments import checked_port, checked_seconds
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover._addresses import checked_host

__all__ = ["CNAMEResolver", "checked_dns_name"]

_LONGEST_LOOKUP = 7.0
"""Seconds for one lookup. dnspython may pause up to 2 s beyond them, and 10 s are promised."""

_OVERRUN = 2.5
"""Seconds after the end of its time when a lookup is taken for lost."""

_PAUSE_AFTER_FAILURE = 5.0
"""Seconds for which resolve() is content with the last known addresses after a failed lookup."""

_log = logging.getLogger("flask_hazelcast_failover.dns")


class CNAMEResolver:
    """Resolves a DNS name, through whatever CNAMEs, to the addresses of a cluster's members.

    A failed lookup keeps the last known addresses; ``last_error`` then says why it failed. Many threads
    may use it. It asks in the caller's thread, once at a time: whoever comes meanwhile waits for that answer.

    Args:
        dns_name: the name to look up, also a short one that the search list completes; an IPv4 address
            stands for itself.
        port: the port of every member.
        refresh_interval: seconds for which an answer is good.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for an empty or impossible name, a port out of range, a negative interval.
    """

    def __init__(self, dns_name: str, port: int = 5701, refresh_interval: float = 60.0) -> None:
        self._dns_name = checked_dns_name(dns_name)
        self._port = checked_port("port", port)
        self._refresh_interval = checked_seconds("refresh_interval", refresh_interval)
        # All below: under _changed, which is never held while a lookup is on.
        self._changed = threading.Condition()
        self._addresses: tuple[str, ...] = ()
        self._last_error: str | None = None
        self._good_until = 0.0
        self._lookups_done = 0
        self._busy_until: float | None = None

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
        """Seconds for which an answer is good."""
        return self._refresh_interval

    @property
    def addresses(self) -> tuple[str, ...]:
        """The last known ``"ip:port"``; none before the first answer."""
        with self._changed:
            return self._addresses

    @property
    def last_error(self) -> str | None:
        """Why the latest lookup failed; ``None`` after a good answer."""
        with self._changed:
            return self._last_error

    def resolve(self) -> list[str]:
        """Return ``["ip:port", ...]``, at most ``refresh_interval`` seconds old unless DNS fails.

        Raises:
            ClientOfflineException: if the name never had an answer, within 10 s.
        """
        with self._changed:
            if self._addresses and time.monotonic() < self._good_until:
                return list(self._addresses)
        return self._asked(_LONGEST_LOOKUP)

    def refresh(self, timeout: float | None = None) -> list[str]:
        """Ask again now and return ``["ip:port", ...]``: the answer, or the last known ones if it fails.

        Args:
            timeout: seconds for the lookup; ``None`` leaves it to dnspython's settings, within 10 s.

        Raises:
            ClientOfflineException: if the name never had an answer.
        """
        limit = _LONGEST_LOOKUP if timeout is None else checked_seconds("timeout", timeout)
        return self._asked(min(limit, _LONGEST_LOOKUP))

    def __repr__(self) -> str:
        return (
            f"CNAMEResolver(dns_name={self._dns_name!r}, port={self._port}, "
            f"refresh_interval={self._refresh_interval:g})"
        )

    def _asked(self, limit: float) -> list[str]:
        """Ask, or wait for whoever is asking already, for ``limit`` seconds at most."""
        deadline = time.monotonic() + limit
        with self._changed:
            seen = self._lookups_done
            while self._busy_until is not None and time.monotonic() < self._busy_until:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._lookups_done != seen:
                    return self._known("timed out")
                self._changed.wait(remaining)
            if self._lookups_done != seen:
                return self._known("")
            # A fork in the middle of a lookup leaves the child with one that never ends.
            self._busy_until = deadline + _OVERRUN
        return self._look_up_and_keep(limit)

    def _look_up_and_keep(self, limit: float) -> list[str]:
        found: tuple[str, ...] = ()
        reason = "interrupted"
        try:
            found = _look_up(self._dns_name, self._port, limit)
        except Exception as error:  # whatever a resolver put in by a program raises, it is a failed lookup
            reason = _reason(error)
        finally:
            with self._changed:
                first_failure = not found and self._last_error is None
                recovered = bool(found) and self._last_error is not None
                self._keep(found, reason)
                known = self._addresses
        if first_failure:
            kept = f"keeping {', '.join(known)}" if known else "no address is known"
            _log.warning("DNS name %s: lookup failed: %s; %s", self._dns_name, reason, kept)
        elif recovered:
            _log.info("DNS name %s: lookups work again: %s", self._dns_name, ", ".join(known))
        with self._changed:
            return self._known(reason)

    def _keep(self, found: tuple[str, ...], reason: str) -> None:
        """Keep the outcome of a lookup and wake whoever waits for it. The caller holds ``_changed``."""
        if found:
            self._addresses = found
            self._last_error = None
            good_for = self._refresh_interval
        else:
            self._last_error = reason
            good_for = min(self._refresh_interval, _PAUSE_AFTER_FAILURE)
        self._good_until = time.monotonic() + good_for
        self._lookups_done += 1
        self._busy_until = None
        self._changed.notify_all()

    def _known(self, reason: str) -> list[str]:
        """Return the last known addresses, or say that there are none. The caller holds ``_changed``."""
        if self._addresses:
            return list(self._addresses)
        why = self._last_error or reason
        raise ClientOfflineException(f"no address is known for the DNS name {self._dns_name!r}: {why}")


def checked_dns_name(dns_name: object) -> str:
    """Return ``dns_name`` if DNS can be asked for it.

    Raises:
        TypeError: if it is no string.
        ValueError: if it is no possible name.
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
    # A resolver put in by a program need not have more than resolve().
    if getattr(resolver, "cache", None) is not None:
        resolver = copy.copy(resolver)
        resolver.cache = None  # who asks again now wants no answer from before
    lifetime = min(limit, getattr(resolver, "lifetime", limit))
    answer = resolver.resolve(name, "A", search=True, lifetime=lifetime)
    return tuple(f"{record.address}:{port}" for record in answer)


def _reason(error: Exception) -> str:
    """Say in a few words why a lookup failed."""
    if isinstance(error, dns.resolver.NXDOMAIN):
        return "NXDOMAIN (there is no such name)"
    if isinstance(error, dns.resolver.NoAnswer):
        return "empty answer (the name has no A record)"
    if isinstance(error, dns.exception.Timeout):
        return "timed out"
    if isinstance(error, dns.resolver.NoNameservers):
        return _reason_of_servers(error)
    if isinstance(error, dns.resolver.NoResolverConfiguration):
        return "no DNS server is configured (is there an /etc/resolv.conf?)"
    return f"{type(error).__name__}: {error}"


def _reason_of_servers(error: dns.resolver.NoNameservers) -> str:
    reasons = {
        f"{server} answered {why}" if isinstance(why, str) else f"{server}: {why or type(why).__name__}"
        for server, _, _, why, _ in error.kwargs.get("errors", [])
    }
    return ", ".join(sorted(reasons)) or "no DNS server is configured"
