"""Lookups of host names by the system's resolver, which takes no timeout."""

from __future__ import annotations

import socket

from ..._threads import reset_in_child, resting
from .._process.single_flight import SingleFlight


def _ipv4_addresses(host: str) -> tuple[str, ...]:
    # The official client supports IPv4 only.
    with resting():
        infos = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in infos))


hosts: SingleFlight[str, tuple[str, ...]] = SingleFlight(_ipv4_addresses)
"""Host name -> IPv4 addresses."""
reset_in_child(hosts, SingleFlight.reset_after_fork)
