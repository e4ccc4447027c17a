"""A status on its way out, to a browser, a program or a terminal: its texts come from members and other processes."""

from __future__ import annotations

from typing import Any

from ._foreign_text import MAX_MESSAGE, MAX_NAME, printable

# The members that hold a sentence; every other text is a name.
_MESSAGES = ("last_error", "why", "problem")


def printable_status(value: Any, limit: int = MAX_NAME) -> Any:
    """Plain values, as in JSON, with each text in them printable and bounded.

    :param limit: the length of the longest text, in characters; that of an error message is 2048
    """
    if isinstance(value, str):
        return printable(value, limit)
    if isinstance(value, dict):
        return {
            key: printable_status(item, MAX_MESSAGE if key in _MESSAGES else limit)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [printable_status(item, limit) for item in value]
    return value
