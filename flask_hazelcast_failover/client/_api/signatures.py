"""Standing in for the official client: what an editor, ``help()`` and ``inspect`` see is the official."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def mirrors(
    official: Callable[_Parameters, _Result],
) -> Callable[[Callable[..., Any]], Callable[_Parameters, _Result]]:
    """Give a method the signature, the annotations and the doc string of the official one."""

    def dress(function: Callable[..., Any]) -> Callable[_Parameters, _Result]:
        return cast("Callable[_Parameters, _Result]", functools.update_wrapper(function, official))

    return dress
