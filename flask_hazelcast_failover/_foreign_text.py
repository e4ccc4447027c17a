"""Text that comes from elsewhere: from requests, members, name servers, other processes' records.

It may be of any size, may hold what cannot be encoded, and may steer a terminal or forge a line of a log.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TypeGuard

MAX_NAME = 256
"""The length of the longest name, in characters: of a label, a host, a worker, an actor."""
MAX_QUOTED = 100
"""How much of a refused value a message shows, in characters."""
MAX_LISTED = 10
"""How many of many addresses or causes a message names."""
MAX_MESSAGE = 2048
"""The length of the longest error or log message that is made from foreign text, in characters."""


def is_name(text: object) -> TypeGuard[str]:
    """Whether it can be stored and shown as it is: a string of 1 to 256 printable characters."""
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable()


def printable(text: str, limit: int = MAX_MESSAGE) -> str:
    """The text on one line: what is not printable escaped as in a Python literal, and cut.

    :param limit: the length of the longest result, in characters
    """
    if len(text) <= limit and text.isprintable():
        return text
    shown = "".join(one if one.isprintable() else _escaped(one) for one in text[:limit])
    if len(text) <= limit and len(shown) <= limit:
        return shown
    return shown[: limit - 1] + "…"


def quoted(text: str) -> str:
    """A refused text between quotes, 100 characters of it at most."""
    cut = repr(text[:MAX_QUOTED])
    return cut if len(text) <= MAX_QUOTED else f"{cut}… ({len(text):,} characters)"


def listed(
    texts: Collection[str], separator: str = ", ", most: int = MAX_LISTED, limit: int = MAX_MESSAGE
) -> str:
    """The texts one after the other on one line: the first ones, and how many more there are.

    :param most: how many to show
    :param limit: the length of the longest result, in characters; the texts share it evenly
    """
    shown = list(islice(texts, most))
    more = [f"and {len(texts) - most:,} more"] if len(texts) > most else []
    text = separator.join(shown + more)
    if len(text) > limit or not text.isprintable():
        separators = len(separator) * (len(shown) + len(more) - 1)
        share = (limit - separators - sum(map(len, more))) // max(1, len(shown))
        text = separator.join([*(printable(one, max(1, share)) for one in shown), *more])
    return printable(text, limit)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
