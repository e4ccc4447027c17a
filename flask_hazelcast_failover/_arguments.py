"""Checks of arguments and configuration values.

Each check takes the argument's name, for the message, and returns the value. It raises ``TypeError`` for a wrong
type and ``ValueError`` for a bad value, and says what was expected and what was given.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from enum import Enum
from typing import TypeVar

from ._foreign_text import MAX_NAME, is_name

_HIGHEST_PORT = 65535
_MAX_SHOWN = 80

_Choice = TypeVar("_Choice", bound=Enum)


def describe_value(value: object) -> str:
    """Show a value that was refused, with its type, on one line and without what may hold credentials."""
    if value is not None and not isinstance(value, (str, int, float)):
        return f"a {type(value).__name__}"  # a container in the wrong place may hold credentials
    if isinstance(value, int) and value.bit_length() > _MAX_SHOWN:
        return f"a number of {value.bit_length()} bits (int)"  # Python refuses to format the largest
    text = repr(value)
    if len(text) > _MAX_SHOWN:
        text = text[:_MAX_SHOWN] + "…"
    return f"{text} ({type(value).__name__})"


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid name that is most like ``name``."""
    return difflib.get_close_matches(name, list(valid), n=1, cutoff=0)[0]


def nearest_hint(name: str, valid: Iterable[str]) -> str:
    """``"; did you mean 'x'?"``, or the valid names if none is similar."""
    names = sorted(valid)
    similar = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {similar[0]!r}?" if similar else f"; valid are: {', '.join(names)}"


def checked_name(argument: str, value: object) -> str:
    """Require a string that is not blank."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, not {describe_value(value)}")
    if not value.strip():
        raise ValueError(f"{argument} must not be empty, got {value!r}")
    return value


def checked_label(argument: str, value: object) -> str:
    """Require a name that every process can store and show: as in the records of a fleet."""
    label = checked_name(argument, value)
    if not is_name(label):
        given = describe_value(label)
        raise ValueError(
            f"{argument} must be at most {MAX_NAME} characters, all of them printable, got {given}"
        )
    return label


def checked_bool(argument: str, value: object) -> bool:
    """Require ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, not {describe_value(value)}")
    return value


def checked_count(argument: str, value: object, *, least: int = 1) -> int:
    """Require a whole number of at least ``least``."""
    message = f"{argument} must be a whole number of at least {least}, not {describe_value(value)}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(message)
    if value < least:
        raise ValueError(message)
    return int(value)


def checked_port(argument: str, value: object) -> int:
    """Require a TCP port."""
    port = checked_count(argument, value)
    if port > _HIGHEST_PORT:
        raise ValueError(f"{argument} must be a port from 1 to {_HIGHEST_PORT}, not {describe_value(port)}")
    return port


def checked_seconds(
    argument: str, value: object, *, most: float = sys.float_info.max, above_zero: bool = False
) -> float:
    """Require a finite number of seconds, 0 or more, and return it as a float.

    :param most: the longest time allowed
    :param above_zero: whether 0 is refused
    """
    expected = "a number of seconds above 0" if above_zero else "a number of seconds, 0 or more"
    expected += f", up to {most}" if most < sys.float_info.max else ", finite"
    message = f"{argument} must be {expected}, not {describe_value(value)}"
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(message)
    if not 0 <= value <= most or (above_zero and value == 0):  # this refuses nan as well
        raise ValueError(message)
    return float(value)


def checked_choice(argument: str, value: object, choices: type[_Choice]) -> _Choice:
    """Require a member of an enum of strings, or its value."""
    valid = [str(choice.value) for choice in choices]
    message = f"{argument} must be one of {', '.join(map(repr, valid))}, not {describe_value(value)}"
    if not isinstance(value, str):
        raise TypeError(message)
    try:
        return choices(value)
    except ValueError:
        similar = difflib.get_close_matches(value.lower(), valid, n=1)
        hint = f": did you mean {similar[0]!r}?" if similar else ""
        raise ValueError(message + hint) from None
