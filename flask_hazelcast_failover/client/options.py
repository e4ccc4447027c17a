"""How a client behaves: every option, its default, and what is refused."""

from __future__ import annotations

import difflib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from flask_hazelcast_failover._arguments import given as described
from flask_hazelcast_failover._client_options import KNOWN, OWNED, check_client_options

if TYPE_CHECKING:
    from hazelcast.client import HazelcastClient as OfficialClient

__all__ = ["Failback", "Options", "ReadyCheck", "Repeat", "Standby"]

ReadyCheck = Callable[["OfficialClient"], object]
"""Gets the official client of the cluster to return to; what it returns is taken as yes or no."""


# Locks and sockets refuse to wait for much longer, each with an error of its own.
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
    """Who decides that a cluster of higher priority is used again."""

    MANUAL = "manual"
    AUTO = "auto"

    __str__ = str.__str__


@dataclass(frozen=True)
class Options:
    """The options of a client, checked. All times are in seconds.

    ``try_count`` is ``None`` when it was not given: the configuration of the clusters then says it.
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
    failback: Failback = Failback.MANUAL
    failback_after: float = 120.0
    ready_check: ReadyCheck | None = None
    # May hold credentials, so it is in no repr.
    client_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], name_of: Callable[[str], str] = str) -> Options:
        """Check what was given and fill in the defaults.

        ``name_of`` turns an option's name into what the user knows it by, for the messages.
        Raises ``TypeError`` for a wrong type, ``ValueError`` for a bad value or an unknown option.
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
        """The same with ``try_count`` filled in: what was given, or what the clusters say."""
        return self if self.try_count is not None else replace(self, try_count=otherwise)


def _hint(name: str, known: Sequence[str], name_of: Callable[[str], str]) -> str:
    """What to do instead of giving an option that there is not."""
    if name in OWNED:
        return f"it is decided by this client: {OWNED[name]}"
    if name in KNOWN:
        return f"it is one of the official client's, for {name_of('client_options')} or for one cluster"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
    return f"the nearest valid one is {name_of(nearest[0])}"


def _count(name: str, value: object) -> int:
    expected = f"{name} must be a whole number of at least 1, not {described(value)}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(expected)
    if value < 1:
        raise ValueError(expected)
    return int(value)


def _seconds(name: str, value: object) -> float:
    return _number(name, value, f"a number of seconds from 0 to {_A_YEAR}")


def _seconds_above_zero(name: str, value: object) -> float:
    expected = f"a number of seconds above 0, up to {_A_YEAR}"
    seconds = _number(name, value, expected)
    if seconds == 0:
        raise ValueError(f"{name} must be {expected}, not {described(value)}")
    return seconds


def _number(name: str, value: object, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {expected}, not {described(value)}")
    if not 0 <= value <= _A_YEAR:  # this refuses nan as well
        raise ValueError(f"{name} must be {expected}, not {described(value)}")
    return float(value)


_Choice = TypeVar("_Choice", Repeat, Standby, Failback)


def _one_of(choices: type[_Choice]) -> Callable[[str, object], _Choice]:
    def check(name: str, value: object) -> _Choice:
        values = [choice.value for choice in choices]
        expected = f"{name} must be one of {', '.join(map(repr, values))}, not {described(value)}"
        if not isinstance(value, str):
            raise TypeError(expected)
        try:
            return choices(value)
        except ValueError:
            nearest = difflib.get_close_matches(value.lower(), values, n=1)
            hint = f": did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(expected + hint) from None

    return check


def _ready_check(name: str, value: object) -> ReadyCheck | None:
    if value is None:
        return None
    found = _imported(name, value) if isinstance(value, str) else value
    if not callable(found):
        raise TypeError(f"{name} must be {_A_READY_CHECK}, not {described(value)}")
    if inspect.iscoroutinefunction(found):
        # Its coroutine, never awaited, would count as a yes.
        raise TypeError(f"{name} must be an ordinary function, not a coroutine function")
    return found


_A_READY_CHECK = "a callable, or the dotted name of one such as 'package.module:function'"


def _imported(name: str, dotted: str) -> object:
    refused = f"{name} must be {_A_READY_CHECK}; {described(dotted)}"
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


_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "try_count": _count,
    "retry_delay": _seconds,
    "connect_timeout": _seconds_above_zero,
    "wait_timeout": _seconds,
    "operation_timeout": _seconds_above_zero,
    "drain_timeout": _seconds,
    "repeat": _one_of(Repeat),
    "standby": _one_of(Standby),
    "health_check_interval": _seconds,
    "health_check_timeout": _seconds_above_zero,
    "health_check_failures": _count,
    "listener_queue_events": _count,
    "listener_queue_bytes": _count,
    "failback": _one_of(Failback),
    "failback_after": _seconds,
    "ready_check": _ready_check,
    "client_options": _client_options,
}
