"""Parses HAZELCAST_FAILOVER_CLUSTERS: a list of dicts or URLs, the same as JSON, or URLs separated by spaces."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from .failover.config import FailoverConfig

HOW_TO_GIVE_CLUSTERS = (
    "give a list of dicts such as {'cluster_name': 'blue', 'addresses': ['host:5701']} "
    "or of URLs such as 'hazelcast://blue@host:5701,host:5702?priority=0' "
    "and 'hazelcast+cname://green@dns-name:5701?refresh_interval=60'"
)

_STATIC = "hazelcast"
_CNAME = "hazelcast+cname"


def add_clusters(clusters: FailoverConfig, key: str, value: object) -> None:
    """Add the clusters of a configuration key.

    Messages quote only the part of an entry that is wrong, since an entry may hold credentials.

    :param key: the configuration key, for messages
    :param value: its value
    :raises TypeError: for a value of the wrong type
    :raises ValueError: for a bad value
    """
    entries = _entries(key, value)
    if not entries:
        raise ValueError(f"{key} (an empty {type(value).__name__}) names no cluster: {HOW_TO_GIVE_CLUSTERS}")
    for index, entry in enumerate(entries):
        where, kind = f"{key}[{index}]", type(entry).__name__
        if isinstance(entry, str):
            entry = _from_url(where, entry)
        elif not isinstance(entry, Mapping):
            raise TypeError(f"{where} must be a dict or a URL, not a {kind}")
        _add(clusters, where, kind, entry)


def _entries(key: str, value: object) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        if not text.startswith(("[", "{", '"')):
            return text.split()
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            # From None, since its attribute doc holds the whole text.
            raise ValueError(
                f"{key} (str) is no valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
            ) from None
        if isinstance(value, str):
            return value.split()
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{key} must be a list and not a {type(value).__name__}: {HOW_TO_GIVE_CLUSTERS}")
    return list(value)


def _add(clusters: FailoverConfig, where: str, kind: str, entry: Mapping[Any, Any]) -> None:
    for name in entry:
        if not isinstance(name, str):
            raise TypeError(f"{where} must have names as its keys, not a {type(name).__name__}")
    add: Callable[..., Any]
    if "dns_name" in entry:
        add, needed = clusters.add_cname_cluster, ("cluster_name", "dns_name")
        if "addresses" in entry:
            raise ValueError(f"{where} (dict) has both addresses and dns_name: give one of the two")
    else:
        add, needed = clusters.add_cluster, ("cluster_name", "addresses")
    for name in needed:
        if name not in entry:
            meant = difflib.get_close_matches(name, entry.keys() - set(needed), n=1)
            hint = f": {meant[0]!r} is unknown" if meant else ""
            either = " or dns_name" if name == "addresses" else ""
            raise ValueError(f"{where} (dict) has no {name}{either}{hint}; {HOW_TO_GIVE_CLUSTERS}")
    try:
        add(**entry)
    except (TypeError, ValueError) as error:
        raised = TypeError if isinstance(error, TypeError) else ValueError
        raise raised(f"{where} ({kind}): {error}") from error


def _from_url(where: str, url: str) -> dict[str, Any]:
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in (_STATIC, _CNAME):
        shown = f", not {scheme!r}" if separator and re.fullmatch(r"[\w+.-]+", scheme) else ""
        raise ValueError(f"{where} (str) must be a URL that starts with {_STATIC}:// or {_CNAME}://{shown}")
    rest, _, query = rest.partition("?")
    cluster_name, host = _split_authority(where, rest)
    entry: dict[str, Any] = {"cluster_name": _decoded(where, cluster_name)}
    if scheme.lower() == _STATIC:
        entry["addresses"] = host.split(",")
        return entry | _parameters(where, query, _OF_EVERY_URL)
    dns_name, colon, port = host.partition(":")
    entry["dns_name"] = dns_name
    if colon:
        entry["port"] = _converted(where, "the port", port, int)
    return entry | _parameters(where, query, {**_OF_EVERY_URL, "refresh_interval": float})


def _split_authority(where: str, text: str) -> tuple[str, str]:
    name, at, host = text.rpartition("@")
    if ":" in name or "@" in name:
        raise ValueError(
            f"{where} (str) looks like it holds credentials, which do not belong in a URL: "
            "give creds_username and creds_password in a dict or in HAZELCAST_FAILOVER_CLIENT_OPTIONS "
            "(a ':' or '@' in a cluster's name is written %3A or %40)"
        )
    if not at or not name:
        raise ValueError(f"{where} (str) does not name its cluster: {_STATIC}://NAME@host:port")
    host = host.removesuffix("/")
    if not host or "/" in host or "#" in host:
        raise ValueError(f"{where} (str) must have only host:port between '@' and '?'")
    return name, host


def _parameters(where: str, query: str, known: Mapping[str, Callable[[str], object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    if not query:
        return found
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise ValueError(f"{where} (str): what follows '?' must be name=value&name=value") from None
    for name, text in pairs:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {nearest[0]}?" if nearest else "."
            raise ValueError(
                f"{where} (str) has an unknown parameter {name!r}{hint} A URL takes {', '.join(known)}; "
                "client options go into a dict or into HAZELCAST_FAILOVER_CLIENT_OPTIONS"
            )
        if name in found:
            raise ValueError(f"{where} (str) has the parameter {name} twice")
        found[name] = _converted(where, name, text, known[name])
    return found


def _converted(where: str, what: str, text: str, kind: Callable[[str], object]) -> object:
    try:
        return kind(text)
    except ValueError:
        expected = {int: "a whole number", _yes_or_no: "true or false"}.get(kind, "a number")
        raise ValueError(f"{where} (str): {what} must be {expected}, not {text!r}") from None


def _yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


_OF_EVERY_URL: Mapping[str, Callable[[str], object]] = {
    "priority": int,
    "label": str,
    "known_members": _yes_or_no,
}


def _decoded(where: str, text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{where} (str): the cluster's name is no UTF-8 once its %XX are decoded") from None
