"""What a configuration argument must look like; whatever else is refused at once.

Every check takes the argument's name, which its message repeats, and returns the value: ``TypeError`` for a
wrong type, ``ValueError`` for a bad value.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable

__all__ = [
    "checked_bool",
    "checked_count",
    "checked_name",
    "checked_port",
    "checked_seconds",
    "given",
    "nearest_hint",
    "ordered_by_likeness",
]

_HIGHEST_PORT = 65535
_LONGEST_SHOWN = 80


def given(value: object) -> str:
    """Show a value that was refused, with its type, and no more of it than a line can hold."""
    if value is not None and not isinstance(value, (str, int, float)):
        return f"a {type(value).__name__}"  # a container in the wrong place may hold credentials
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN:
        return f"a number of {value.bit_length()} bits (int)"  # Python refuses to write the largest
    text = repr(value)
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "…"
    return f"{text} ({type(value).__name__})"


def nearest_hint(name: str, valid: Iterable[str]) -> str:
    """Name what was probably meant: ``"; did you mean 'x'?"``, or the valid names if none is alike."""
    names = sorted(valid)
    alike = ordered_by_likeness(name, names)
    return f"; did you mean {alike[0]!r}?" if alike else f"; valid are: {', '.join(names)}"


def ordered_by_likeness(name: str, valid: Iterable[str]) -> list[str]:
    """Return the valid names that look like ``name``, the likest first."""
    return difflib.get_close_matches(name.lower(), list(valid), n=3, cutoff=0.5)


def checked_name(argument: str, value: object) -> str:
    """Return ``value`` if it is a text with something in it."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, got {given(value)}")
    if not value.strip():
        raise ValueError(f"{argument} must not be empty, got {value!r}")
    return value


def checked_bool(argument: str, value: object) -> bool:
    """Return ``value`` if it is ``True`` or ``False``."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} must be True or False, got {given(value)}")
    return value


def checked_count(argument: str, value: object, *, least: int) -> int:
    """Return ``value`` if it is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{argument} must be an int, got {given(value)}")
    if value < least:
        raise ValueError(f"{argument} must be {least} or more, got {given(value)}")
    return value


def checked_port(argument: str, value: object) -> int:
    """Return ``value`` if it is a TCP port."""
    port = checked_count(argument, value, least=1)
    if port > _HIGHEST_PORT:
        raise ValueError(f"{argument} must be 1 to {_HIGHEST_PORT}, got {given(port)}")
    return port


def checked_seconds(argument: str, value: object) -> float:
    """Return ``value`` as a float if it is a finite number of seconds, 0 or more."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{argument} must be a number of seconds, got {given(value)}")
    if not 0 <= value <= sys.float_info.max:  # this refuses nan as well
        raise ValueError(f"{argument} must be a finite number of seconds, 0 or more, got {given(value)}")
    return float(value)
