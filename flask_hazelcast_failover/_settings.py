"""The ``HAZELCAST_FAILOVER_*`` keys of an app's configuration: read once, checked once, frozen."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any

from ._arguments import describe_value, nearest
from ._cluster_entries import HOW_TO_GIVE_CLUSTERS, add_clusters
from .client.options import Options
from .failover.config import FailoverConfig

PREFIX = "HAZELCAST_FAILOVER_"

_DEFAULT_TRY_COUNT = 3
_DEFAULT_URL_PREFIX = "/hazelcast"
_OPTION_NAMES = tuple(option.name for option in fields(Options))
_OWN_NAMES = ("clusters", "fleet", "admin_token", "admin_url_prefix")
_NAMES = (*_OWN_NAMES, *_OPTION_NAMES)


def _key(name: str) -> str:
    return PREFIX + name.upper()


@dataclass(frozen=True)
class Settings:
    """The settings of one app.

    :param fleet: name of the fleet; ``None``: the workers of one server
    :param admin_token: opens the admin routes; ``None``: no token does
    :param admin_url_prefix: where the admin routes are; ``None``: nowhere
    """

    clusters: FailoverConfig = field(repr=False)
    options: Options
    fleet: str | None
    admin_token: str | None = field(repr=False)
    admin_url_prefix: str | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Read the ``HAZELCAST_FAILOVER_*`` keys of an app's configuration.

        :raises TypeError: for a value of the wrong type
        :raises ValueError: for a bad value, a missing or an unknown key
        """
        given = _given(config)
        of_client = {name: given[name] for name in _OPTION_NAMES if name in given}
        options = Options.from_mapping({"try_count": _DEFAULT_TRY_COUNT} | of_client, name_of=_key)
        clusters = FailoverConfig(try_count=options.try_count or _DEFAULT_TRY_COUNT)
        if "clusters" not in given:
            raise ValueError(f"{_key('clusters')} is missing: {HOW_TO_GIVE_CLUSTERS}")
        add_clusters(clusters, _key("clusters"), given["clusters"])
        return cls(
            clusters=clusters,
            options=options,
            fleet=_fleet(given.get("fleet")),
            admin_token=_admin_token(given.get("admin_token")),
            admin_url_prefix=_admin_url_prefix(given.get("admin_url_prefix", _DEFAULT_URL_PREFIX)),
        )

    def client_keywords(self) -> dict[str, Any]:
        """The options as keywords for a ``HazelcastClient``."""
        return {name: getattr(self.options, name) for name in _OPTION_NAMES}


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in config.items():
        if not key.startswith(PREFIX):
            continue
        name = key.removeprefix(PREFIX).lower()
        if name not in _NAMES or key != _key(name):
            raise ValueError(
                f"unknown configuration key {key} (its value is a {type(value).__name__}): "
                f"the nearest valid key is {_key(nearest(name, _NAMES))}"
            )
        given[name] = value
    return given


def _fleet(value: object) -> str | None:
    if value is None:
        return None
    expected = f"{_key('fleet')} must be None or a name for the processes that switch together"
    if not isinstance(value, str):
        raise TypeError(f"{expected}, not a {type(value).__name__}; a number needs quotes: '\"7\"'")
    if not value.strip() or not value.isprintable():
        raise ValueError(f"{expected}, not {describe_value(value)}")
    return value


def _admin_token(value: object) -> str | None:
    if value is None:
        return None
    expected = f"{_key('admin_token')} must be None or a token"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _as_typed(value)
    if not isinstance(value, str):
        raise TypeError(f"{expected} as a string, not a {type(value).__name__}")
    if not value:
        raise ValueError(f"{expected}, not an empty string (str); leave the key out for no token")
    if value != value.strip() or not value.isprintable():
        # No HTTP header can carry it, so that nobody could sign in.
        raise ValueError(f"{expected} without control characters and spaces around it (str)")
    return value


def _as_typed(number: float) -> str:
    """The text that ``from_prefixed_env`` parsed to a number: 100000.0 may have been ``1e5`` in the environment."""
    typed = set()
    for name, text in os.environ.items():
        with suppress(ValueError):
            if name.endswith(_key("admin_token")) and repr(json.loads(text)) == repr(number):
                typed.add(text.strip())
    if len(typed) > 1:
        raise TypeError(
            f"{_key('admin_token')} is a number ({type(number).__name__}) that can be written in several ways: "
            "give it as a string; in an environment variable, put it in double quotes"
        )
    return typed.pop() if typed else str(number)


def _admin_url_prefix(value: object) -> str | None:
    if value is None:
        return None
    expected = f"{_key('admin_url_prefix')} must be None or a path such as '/hazelcast' (no slash at its end)"
    if not isinstance(value, str):
        raise TypeError(f"{expected}, not a {type(value).__name__}")
    if not re.fullmatch(r"(/[\w.~-]+)+", value, re.ASCII):
        raise ValueError(f"{expected}, not {describe_value(value)}")
    return value
