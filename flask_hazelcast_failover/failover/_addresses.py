"""Parses addresses of members: ``"host:port"``, as the official client understands it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from .._arguments import checked_name, describe_value

DEFAULT_PORTS = (5701, 5702, 5703)
"""Ports that the official client tries for an address without one."""

_MAX_PORT_DIGITS = 5
_HOST = re.compile(r"[^\s/@?#\[\]:,;\"'\\]+")


def parsed_addresses(argument: str, addresses: object) -> tuple[str, ...]:
    """Return every ``"host:port"`` in ``addresses``, in the given order and without duplicates.

    A host without a port stands for the official client's default ports.

    :raises TypeError: if it is no list or tuple of strings (a single string is not split)
    :raises ValueError: if it is empty or an address is malformed
    """
    if isinstance(addresses, (str, bytes)) or not isinstance(addresses, Iterable):
        raise TypeError(f'{argument} must be a list such as ["host:5701"], got {_redacted(addresses)}')
    found: dict[str, None] = {}
    for index, address in enumerate(addresses):
        found.update(dict.fromkeys(parsed_address(f"{argument}[{index}]", address)))
    if not found:
        raise ValueError(f'{argument} must hold at least one "host:port", got none')
    return tuple(found)


def parsed_address(argument: str, address: object) -> tuple[str, ...]:
    """Return one address as ``"host:port"``, or without a port once for each default port."""
    if not isinstance(address, str):
        raise TypeError(f'{argument} must be a string "host:port", got {describe_value(address)}')
    host, colon, port = address.partition(":")
    if "@" in address or "/" in address:
        raise ValueError(f'{argument} must be "host:port" and not a URL, got {_redacted(address)}')
    checked_host(argument, address if ":" in port else host)
    if not colon:
        return tuple(f"{host}:{default}" for default in DEFAULT_PORTS)
    if not (port.isascii() and port.isdigit() and len(port) <= _MAX_PORT_DIGITS and 1 <= int(port) <= 65535):
        raise ValueError(f'{argument} must be "host:port" with a port from 1 to 65535, got {address!r}')
    return (f"{host}:{int(port)}",)


def checked_host(argument: str, host: object) -> str:
    """Require a host name or an IPv4 address."""
    name = checked_name(argument, host)
    if _is_ipv6(name):
        raise ValueError(
            f"{argument}: IPv6 is not supported, since the official client connects over IPv4 only, "
            f"got {name!r}; give a host name or an IPv4 address"
        )
    if not _HOST.fullmatch(name):
        raise ValueError(f"{argument} must be a host name or an IPv4 address, got {_redacted(name)}")
    return name


def _is_ipv6(text: str) -> bool:
    if text.startswith("["):
        return True
    try:
        return ipaddress.ip_address(text.partition("%")[0]).version == 6
    except ValueError:
        return False


def _redacted(value: object) -> str:
    """Show a refused value without the user and password that a URL may contain."""
    if isinstance(value, str) and "@" in value:
        return repr("…@" + value.rpartition("@")[2])
    return describe_value(value)
