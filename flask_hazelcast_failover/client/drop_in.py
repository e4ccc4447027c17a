"""Standing in for the official client: what an editor, ``help()`` and ``inspect`` see is the official."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["stands_in_for"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def stands_in_for(official: Callable[..., Any]) -> Callable[[_Function], _Function]:
    """Give a method the signature, the annotations and the doc string of the official one."""

    def dress(function: _Function) -> _Function:
        functools.update_wrapper(function, official)
        return function

    return dress
