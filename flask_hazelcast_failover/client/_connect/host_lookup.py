"""Lookups of host names by the system's resolver, which takes no timeout."""

from __future__ import annotations

import os
import socket

from .._process.single_flight import SingleFlight


def _ipv4_addresses(host: str) -> tuple[str, ...]:
    # The official client supports IPv4 only.
    infos = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in infos))


hosts: SingleFlight[str, tuple[str, ...]] = SingleFlight(_ipv4_addresses)
"""Host name -> IPv4 addresses."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=hosts.reset_after_fork)
