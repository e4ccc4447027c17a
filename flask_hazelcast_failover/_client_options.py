"""The official client's options: which there are, which this client decides itself, what they may be."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

from hazelcast.config import (
    Config,
    FlakeIdGeneratorConfig,
    IntType,
    NearCacheConfig,
    ReliableTopicConfig,
    SSLProtocol,
)
from hazelcast.errors import HazelcastError
from hazelcast.util import LoadBalancer

from flask_hazelcast_failover._arguments import given, nearest_hint

__all__ = ["KNOWN", "OWNED", "check_client_options", "fresh", "refuse_unusable", "set_option"]


def _option_names(kind: type[Any]) -> frozenset[str]:
    return frozenset(name for name, member in vars(kind).items() if isinstance(member, property))


KNOWN = _option_names(Config)
"""Every option of the installed official client."""

OWNED: Mapping[str, str] = {
    "async_start": "start() connects, or else the first operation does",
    "reconnect_mode": "it reconnects and switches by itself, after try_count attempts",
    "cluster_connect_timeout": "use connect_timeout, the seconds of one attempt, and try_count",
    "retry_initial_backoff": "use retry_delay",
    "retry_max_backoff": "use retry_delay",
    "retry_jitter": "use retry_delay, which is jittered",
    "retry_multiplier": "use retry_delay, which doubles",
    "redo_operation": "use repeat",
}
"""Options that this client decides itself: option -> which of its own settings does that job."""

_ELSEWHERE: Mapping[str, str] = {
    "cluster_name": "give it as cluster_name= of the cluster",
    "cluster_members": "give them as addresses= of the cluster",
    "cloud_discovery_token": "clusters are found by their addresses or DNS name only; give those",
    "try_count": "it holds for all clusters: FailoverConfig(try_count=...) or an option of HazelcastClient",
}

_SECRET = frozenset({"creds_password", "ssl_password", "token_provider", "cloud_discovery_token"})

_ENUMS: Mapping[str, type[Any]] = {"ssl_protocol": SSLProtocol, "default_int_type": IntType}

_NESTED: Mapping[str, type[Any]] = {
    "near_caches": NearCacheConfig,
    "flake_id_generators": FlakeIdGeneratorConfig,
    "reliable_topics": ReliableTopicConfig,
}

_DEFAULTS = Config()


def check_client_options(options: object, whose: str, also_valid: Iterable[str] = ()) -> dict[str, Any]:
    """Return the options of one cluster's official client, checked, without those that are ``None``.

    Args:
        options: option name -> value.
        whose: what they belong to, as messages shall call it, for example ``"cluster 'blue'"``.
        also_valid: further names that a mistyped one may have meant.

    Raises:
        TypeError: for a value of the wrong type.
        ValueError: for a bad value, an unknown option, one that has its place elsewhere, or one that this
            client decides itself.
    """
    if not isinstance(options, Mapping):
        raise TypeError(f"{whose}: client options must be a dict, got {type(options).__name__}")
    trial = Config()
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if value is None and name in _ELSEWHERE:
            continue
        refuse_unusable(name, value, whose, [*KNOWN - OWNED.keys() - _ELSEWHERE.keys(), *also_valid])
        if name in _ELSEWHERE:
            raise ValueError(f"{whose}: {name} is no client option here: {_ELSEWHERE[name]}")
        if value is not None:
            set_option(trial, name, value, whose)
            checked[name] = fresh(value)
    return checked


def refuse_unusable(name: object, value: object, whose: str, valid: Iterable[str]) -> None:
    """Refuse a name that is no option, and a value for an option that this client decides itself."""
    if not isinstance(name, str):
        raise TypeError(f"{whose}: the name of a client option must be a string, got {given(name)}")
    if name in OWNED and value is not None:
        raise ValueError(f"{whose}: {name} is decided by this client: {OWNED[name]}")
    if name not in KNOWN and name not in _ELSEWHERE:
        raise ValueError(f"{whose}: unknown client option {name!r}{nearest_hint(name, valid)}")


def set_option(config: Config, name: str, value: object, whose: str) -> None:
    """Set one option, and say which one and whose it was if its value is refused, but never a secret's value.

    Raises:
        TypeError: for a value of the wrong type.
        ValueError: for a bad value.
    """
    _refuse_odd_number(name, value, whose)
    if name in _ENUMS:
        _refuse_unknown_choice(name, value, whose)
    if name in _NESTED and isinstance(value, dict):
        _refuse_unknown_nested(name, value, whose)
    try:
        setattr(config, name, value)
    except TypeError as error:
        raise TypeError(_refusal(whose, name, value, error)) from None
    except (ValueError, AssertionError, AttributeError, HazelcastError) as error:
        raise ValueError(_refusal(whose, name, value, error)) from None


def fresh(value: Any) -> Any:
    """Copy what a client would write to: containers, nested configurations and the load balancer.

    What users made and clients only read, such as listeners and serializers, stays the same object.
    """
    if type(value) in (list, tuple):
        return type(value)(fresh(item) for item in value)
    if type(value) is dict:
        return {key: fresh(item) for key, item in value.items()}
    if isinstance(value, (*_NESTED.values(), LoadBalancer)):
        return copy.copy(value)
    return value


def _refuse_odd_number(name: str, value: object, whose: str) -> None:
    # The official client takes True for 1 and waits for ever on NaN.
    if type(getattr(_DEFAULTS, name, None)) not in (int, float) or name in _ENUMS:
        return
    if isinstance(value, bool):
        raise TypeError(f"{whose}: client option {name}: must be a number, got {value}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{whose}: client option {name}: must be a finite number, got {value}")


def _refuse_unknown_choice(name: str, value: object, whose: str) -> None:
    choices = {key: choice for key, choice in vars(_ENUMS[name]).items() if not key.startswith("_")}
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise TypeError(
            f"{whose}: client option {name}: must be one of {', '.join(choices)}, got {given(value)}"
        )
    if value not in choices and value not in choices.values():
        hint = nearest_hint(str(value), choices)
        raise ValueError(f"{whose}: client option {name}: {value!r} is none of its values{hint}")


def _refuse_unknown_nested(name: str, value: dict[Any, Any], whose: str) -> None:
    valid = _option_names(_NESTED[name])
    for item, options in value.items():
        for option in options if isinstance(options, dict) else ():
            if option not in valid:
                hint = nearest_hint(str(option), valid)
                raise ValueError(f"{whose}: client option {name}[{item!r}]: unknown option {option!r}{hint}")


def _refusal(whose: str, name: str, value: object, error: Exception) -> str:
    if name in _SECRET:
        return f"{whose}: client option {name}: refused by the official client, got a {type(value).__name__}"
    return f"{whose}: client option {name}: {error}, got {given(value)}"
