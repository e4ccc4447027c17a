"""The options of the official client: names, checks, and which of them this client decides itself."""

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

from ._arguments import describe_value, nearest_hint


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
"""Options that this client decides itself: option -> what to use instead."""

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
    """Check the options of one cluster's official client; return a copy without those that are ``None``.

    :param options: option name -> value
    :param whose: what they belong to, for messages, such as ``"cluster 'blue'"``
    :param also_valid: further names to suggest for a mistyped one
    :raises TypeError: for a value of the wrong type
    :raises ValueError: for a bad value, an unknown option, one that belongs elsewhere, or one that this client
        decides itself
    """
    if not isinstance(options, Mapping):
        raise TypeError(f"{whose}: client options must be a dict, got {type(options).__name__}")
    trial = Config()
    checked: dict[str, Any] = {}
    for name, value in options.items():
        if value is None and name in _ELSEWHERE:
            continue
        check_option_name(name, value, whose, [*KNOWN - OWNED.keys() - _ELSEWHERE.keys(), *also_valid])
        if name in _ELSEWHERE:
            raise ValueError(f"{whose}: {name} is no client option here: {_ELSEWHERE[name]}")
        if value is not None:
            set_option(trial, name, value, whose)
            checked[name] = copy_value(value)
    return checked


def check_option_name(name: object, value: object, whose: str, valid: Iterable[str]) -> None:
    """Refuse an unknown option, and a value for one that this client decides itself."""
    if not isinstance(name, str):
        raise TypeError(f"{whose}: the name of a client option must be a string, got {describe_value(name)}")
    if name in OWNED and value is not None:
        raise ValueError(f"{whose}: {name} is decided by this client: {OWNED[name]}")
    if name not in KNOWN and name not in _ELSEWHERE:
        raise ValueError(f"{whose}: unknown client option {name!r}{nearest_hint(name, valid)}")


def set_option(config: Config, name: str, value: object, whose: str) -> None:
    """Set one option. Errors name it and its owner, but never show a secret's value.

    :raises TypeError: for a value of the wrong type
    :raises ValueError: for a bad value
    """
    _check_number(name, value, whose)
    if name in _ENUMS:
        _check_choice(name, value, whose)
    if name in _NESTED and isinstance(value, dict):
        _check_nested(name, value, whose)
    try:
        setattr(config, name, value)
    except TypeError as error:
        raise TypeError(_refusal(whose, name, value, error)) from None
    except (ValueError, AssertionError, AttributeError, HazelcastError) as error:
        raise ValueError(_refusal(whose, name, value, error)) from None


def copy_value(value: Any) -> Any:
    """Copy what a client modifies: containers, nested configurations and the load balancer.

    Objects that clients only read, such as listeners and serializers, are shared.
    """
    if type(value) in (list, tuple):
        return type(value)(copy_value(item) for item in value)
    if type(value) is dict:
        return {key: copy_value(item) for key, item in value.items()}
    if isinstance(value, (*_NESTED.values(), LoadBalancer)):
        return copy.copy(value)
    return value


def _check_number(name: str, value: object, whose: str) -> None:
    # The official client accepts True as 1, and waits forever with NaN.
    if type(getattr(_DEFAULTS, name, None)) not in (int, float) or name in _ENUMS:
        return
    if isinstance(value, bool):
        raise TypeError(f"{whose}: client option {name}: must be a number, got {value}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{whose}: client option {name}: must be a finite number, got {value}")


def _check_choice(name: str, value: object, whose: str) -> None:
    choices = {key: choice for key, choice in vars(_ENUMS[name]).items() if not key.startswith("_")}
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise TypeError(
            f"{whose}: client option {name}: must be one of {', '.join(choices)}, got {describe_value(value)}"
        )
    if value not in choices and value not in choices.values():
        hint = nearest_hint(str(value), choices)
        raise ValueError(f"{whose}: client option {name}: {value!r} is none of its values{hint}")


def _check_nested(name: str, value: dict[Any, Any], whose: str) -> None:
    valid = _option_names(_NESTED[name])
    for item, options in value.items():
        for option in options if isinstance(options, dict) else ():
            if option not in valid:
                hint = nearest_hint(str(option), valid)
                raise ValueError(f"{whose}: client option {name}[{item!r}]: unknown option {option!r}{hint}")


def _refusal(whose: str, name: str, value: object, error: Exception) -> str:
    if name in _SECRET:
        return f"{whose}: client option {name}: refused by the official client, got a {type(value).__name__}"
    return f"{whose}: client option {name}: {error}, got {describe_value(value)}"
