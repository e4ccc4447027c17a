"""Host names to addresses, by the system's resolver, which cannot be given a time."""

from __future__ import annotations

import os
import socket

from flask_hazelcast_failover.client._process.single_flight import SingleFlight

__all__ = ["hosts"]


def _ipv4_addresses(host: str) -> tuple[str, ...]:
    # The official client speaks IPv4 only.
    found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


hosts: SingleFlight[str, tuple[str, ...]] = SingleFlight(_ipv4_addresses)
"""Host name -> IPv4 addresses, by the system's resolver, which cannot be given a time."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=hosts.reset_after_fork)
