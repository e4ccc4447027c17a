"""The options of a client, their defaults and their checks."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .._arguments import checked_choice, checked_count, checked_seconds, describe_value, nearest
from .._client_options import KNOWN, OWNED, check_client_options

if TYPE_CHECKING:
    from hazelcast.client import HazelcastClient as OfficialClient

__all__ = ["Failback", "Options", "ReadyCheck", "Repeat", "Standby"]

ReadyCheck = Callable[["OfficialClient"], object]
"""Gets the official client of the cluster to fail back to, and returns whether that is ready."""

# A member's answer to an authentication has to fit, bytes.
_SMALLEST_MESSAGE = 1024
# Locks and sockets refuse much longer timeouts, each with an error of its own.
_A_YEAR = 365 * 24 * 3600


class Repeat(str, Enum):
    """Which operations lost with a cluster are repeated."""

    REPEATABLE = "repeatable"
    READS = "reads"
    NONE = "none"

    __str__ = str.__str__


class Standby(str, Enum):
    """Whether the other clusters are connected before they are needed."""

    HOT = "hot"
    COLD = "cold"

    __str__ = str.__str__


class Failback(str, Enum):
    """Whether the client returns to a cluster of higher priority automatically."""

    MANUAL = "manual"
    AUTO = "auto"

    __str__ = str.__str__


@dataclass(frozen=True)
class Options:
    """The options of a client, checked. All times are in seconds.

    ``try_count`` is ``None`` when it was not given: that of the ``FailoverConfig`` counts then.
    """

    try_count: int | None = None
    retry_delay: float = 0.1
    connect_timeout: float = 3.0
    wait_timeout: float = 10.0
    operation_timeout: float = 10.0
    drain_timeout: float = 10.0
    repeat: Repeat = Repeat.REPEATABLE
    standby: Standby = Standby.HOT
    health_check_interval: float = 1.0
    health_check_timeout: float = 1.0
    health_check_failures: int = 5
    listener_queue_events: int = 100_000
    listener_queue_bytes: int = 64 * 1024 * 1024
    max_message_size: int = 512 * 1024 * 1024
    failback: Failback = Failback.MANUAL
    failback_after: float = 120.0
    ready_check: ReadyCheck | None = None
    # May hold credentials, so it is in no repr.
    client_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], name_of: Callable[[str], str] = str) -> Options:
        """Check the options that were given and fill in the defaults.

        :param name_of: turns an option's name into the one that the user knows, for the messages
        :raises TypeError: for a value of the wrong type
        :raises ValueError: for a bad value or an unknown option
        """
        known = [option.name for option in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise ValueError(
                    f"unknown option {name_of(name)} (its value is a {type(value).__name__}): "
                    f"{_hint(name, known, name_of)}"
                )
        checked: dict[str, Any] = {name: _CHECKS[name](name_of(name), value) for name, value in given.items()}
        return cls(**checked)

    def with_try_count(self, otherwise: int) -> Options:
        """The same with ``try_count`` set to ``otherwise``, unless it was given."""
        return self if self.try_count is not None else replace(self, try_count=otherwise)


def _hint(name: str, known: Sequence[str], name_of: Callable[[str], str]) -> str:
    """What to do instead of giving an unknown option."""
    if name in OWNED:
        return f"it is decided by this client: {OWNED[name]}"
    if name in KNOWN:
        return f"it is one of the official client's, for {name_of('client_options')} or for one cluster"
    return f"the nearest valid one is {name_of(nearest(name, known))}"


def _ready_check(name: str, value: object) -> ReadyCheck | None:
    if value is None:
        return None
    found = _imported(name, value) if isinstance(value, str) else value
    if not callable(found):
        raise TypeError(f"{name} must be {_A_READY_CHECK}, not {describe_value(value)}")
    if inspect.iscoroutinefunction(found):
        # The coroutine that it returns would count as true.
        raise TypeError(f"{name} must be an ordinary function, not a coroutine function")
    return found


_A_READY_CHECK = "a callable, or the dotted name of one such as 'package.module:function'"


def _imported(name: str, dotted: str) -> object:
    refused = f"{name} must be {_A_READY_CHECK}; {describe_value(dotted)}"
    try:
        found: object = pkgutil.resolve_name(dotted)
    except Exception as error:  # whatever the module raises while it is imported
        raise ValueError(f"{refused} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise ValueError(f"{refused} is the name of a {type(found).__name__}")  # noqa: TRY004
    return found


def _client_options(name: str, value: object) -> Mapping[str, Any]:
    where = f"{name} (dict)" if isinstance(value, dict) else name
    return MappingProxyType(check_client_options(value, where))


_seconds = partial(checked_seconds, most=_A_YEAR)
_seconds_above_zero = partial(checked_seconds, most=_A_YEAR, above_zero=True)

_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "try_count": checked_count,
    "retry_delay": _seconds,
    "connect_timeout": _seconds_above_zero,
    "wait_timeout": _seconds,
    "operation_timeout": _seconds_above_zero,
    "drain_timeout": _seconds,
    "repeat": partial(checked_choice, choices=Repeat),
    "standby": partial(checked_choice, choices=Standby),
    "health_check_interval": _seconds,
    "health_check_timeout": _seconds_above_zero,
    "health_check_failures": checked_count,
    "listener_queue_events": checked_count,
    "listener_queue_bytes": checked_count,
    "max_message_size": partial(checked_count, least=_SMALLEST_MESSAGE),
    "failback": partial(checked_choice, choices=Failback),
    "failback_after": _seconds,
    "ready_check": _ready_check,
    "client_options": _client_options,
}
