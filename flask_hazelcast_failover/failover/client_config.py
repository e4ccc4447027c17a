"""ClientConfig: the official client's configuration of one cluster, with ``try_count``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hazelcast.config import Config

from .._arguments import checked_count, checked_name, nearest_hint
from .._client_options import KNOWN, OWNED, check_client_options, check_option_name, copy_value, set_option
from ._addresses import parsed_addresses
from .cluster import ClusterConfig

__all__ = [
    "DEFAULT_TRY_COUNT",
    "ClientConfig",
    "ConfigSource",
    "ParsedConfig",
    "build_config",
    "parse_config",
]

DEFAULT_TRY_COUNT = 3

_PACKAGE = __name__.partition(".")[0]


class ConfigSource(NamedTuple):
    """The cluster that a configuration was made for, and its addresses at that time."""

    cluster: ClusterConfig
    addresses: tuple[str, ...]


class ClientConfig(Config):
    """The official ``hazelcast.config.Config`` plus ``try_count``, the connection attempts per cluster.

    Options are set as attributes or with ``from_dict``. Setting an attribute that does not exist raises
    ``AttributeError`` with the nearest valid name. Options that this client decides itself
    (``reconnect_mode`` and the like) can be set, as code written for the official client does, and are
    ignored with one warning.
    """

    # _given: the options set as attributes, even to their defaults. A config is filled by one thread.
    # _source: set by FailoverView.to_client_config, so that a DNS name is resolved again.
    __slots__ = ("_given", "_source", "_try_count")

    _given: set[str]
    _source: ConfigSource | None
    _try_count: int

    def __init__(self) -> None:
        self._given = set()
        self._source = None
        self._try_count = DEFAULT_TRY_COUNT
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def try_count(self) -> int:
        """Connection attempts per cluster before switching: 1 or more, 3 by default."""
        return self._try_count

    @try_count.setter
    def try_count(self, value: int) -> None:
        self._try_count = checked_count("try_count", value, least=1)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(type(self), name):
            hint = nearest_hint(name, {*KNOWN, "try_count"})
            raise AttributeError(f"{type(self).__name__} has no option {name!r}{hint}")
        if name == "cluster_name":
            checked_name(name, value)
        elif name == "cluster_members" and value != []:
            parsed_addresses(name, value)
        super().__setattr__(name, value)
        if name in KNOWN:
            self._given.add(name)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> ClientConfig:
        """Return a configuration with the options of a dictionary; ``None`` leaves the default.

        :raises TypeError: for a value of the wrong type
        :raises ValueError: for a bad value, an unknown option (with the nearest valid name), or one that this
            client decides itself
        """
        if not isinstance(d, Mapping):
            raise TypeError(f"{cls.__name__}.from_dict needs a dict, got {type(d).__name__}")
        config = cls()
        for name, value in d.items():
            check_option_name(name, value, cls.__name__, {*KNOWN - OWNED.keys(), "try_count"})
            if name == "cloud_discovery_token":
                check_client_options({name: value}, cls.__name__)
            elif value is not None:
                set_option(config, name, value, cls.__name__)
        return config

    def copy(self) -> ClientConfig:
        """Return an independent copy."""
        duplicate = type(self).__new__(type(self))
        for slot in _slots_of(type(self)):
            setattr(duplicate, slot, copy_value(getattr(self, slot)))
        duplicate._given = set(self._given)
        return duplicate

    __copy__ = copy

    def __repr__(self) -> str:
        shown = {"cluster_name", "cluster_members", "try_count"}
        others = sorted((_changed(self) | self._given) - shown)
        also = f", also set: {', '.join(others)}" if others else ""
        return (
            f"<{type(self).__name__} cluster_name={self.cluster_name!r} "
            f"cluster_members={self.cluster_members!r} try_count={self.try_count}{also}>"
        )


def build_config(cluster: ClusterConfig, common: Mapping[str, Any], addresses: Sequence[str]) -> ClientConfig:
    """Return a new configuration for one official client of a cluster.

    :param common: client options of all clusters; those of this cluster override them
    :param addresses: the ``"host:port"`` to connect to
    """
    config = ClientConfig()
    config.cluster_name = cluster.cluster_name
    config.cluster_members = list(addresses)
    for name, value in {**common, **cluster.client_options}.items():
        if value is not None:
            setattr(config, name, copy_value(value))
    return config


class ParsedConfig(NamedTuple):
    """One cluster as a configuration object describes it, checked."""

    cluster_name: str
    members: tuple[str, ...]
    try_count: int
    client_options: dict[str, Any]
    source: ConfigSource | None


def parse_config(config: Config) -> ParsedConfig:
    """Read and check a configuration object, which is not changed.

    Options that this client decides itself are ignored, with one ``UserWarning`` that names them all.

    :raises TypeError: if it is no configuration object, or holds a value of the wrong type
    :raises ValueError: if it holds a bad value, or a ``cloud_discovery_token``
    """
    if not isinstance(config, Config):
        raise TypeError(f"a ClientConfig is needed, got {type(config).__name__}")
    name = checked_name("ClientConfig.cluster_name", config.cluster_name)
    whose = f"ClientConfig of {name!r}"
    changed = _changed(config)
    own = changed | (config._given if isinstance(config, ClientConfig) else set())
    options = {
        option: getattr(config, option) for option in own - OWNED.keys() - {"cluster_name", "cluster_members"}
    }
    parsed = ParsedConfig(
        cluster_name=name,
        members=parsed_addresses(f"{whose}: cluster_members", config.cluster_members or ["127.0.0.1"]),
        try_count=config.try_count if isinstance(config, ClientConfig) else DEFAULT_TRY_COUNT,
        client_options=check_client_options(options, whose),
        source=_unchanged_source(config),
    )
    _warn_of_ignored(changed & OWNED.keys(), whose)
    return parsed


def _unchanged_source(config: Config) -> ConfigSource | None:
    source = config._source if isinstance(config, ClientConfig) else None
    return source if source and tuple(config.cluster_members) == source.addresses else None


def _warn_of_ignored(ignored: set[str], whose: str) -> None:
    if not ignored:
        return
    why = "; ".join(f"{name}: {OWNED[name]}" for name in sorted(ignored))
    message = f"{whose}: {', '.join(sorted(ignored))} ignored, since this client decides it itself ({why})"
    warnings.warn(message, UserWarning, stacklevel=_stacklevel_of_caller())


def _stacklevel_of_caller() -> int:
    """Return the ``stacklevel`` of the first frame outside this package, seen from ``_warn_of_ignored``."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        depth, frame = depth + 1, frame.f_back
    return depth


def _changed(config: Config) -> set[str]:
    """Return the options that are not the official client's defaults."""
    default = Config()
    return {name for name in KNOWN if getattr(config, name) != getattr(default, name)}


def _slots_of(kind: type[Any]) -> Iterator[str]:
    for parent in kind.__mro__:
        yield from vars(parent).get("__slots__", ())
