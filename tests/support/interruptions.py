"""Exceptions at a chosen place of a thread, as time limits and signals raise them. For programs of their own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any

__all__ = [
    "POINTS",
    "SoftTimeLimit",
    "TimeLimit",
    "answers",
    "interrupted",
    "mark",
    "of_callbacks",
    "of_futures",
    "of_waits",
]

_END_TIMEOUT = 20.0
_IsPoint = Callable[[FrameType, str], bool]


class TimeLimit(BaseException):
    """As pytest-timeout and others raise."""


class SoftTimeLimit(Exception):
    """As celery raises."""


def _of_conditions(frame: FrameType, event: str) -> bool:
    is_enter = event == "return" and frame.f_code.co_name == "__enter__"
    return is_enter and isinstance(frame.f_locals.get("self"), threading.Condition)


def of_futures(frame: FrameType, event: str) -> bool:
    caller = frame.f_back
    is_official = caller is not None and caller.f_code.co_filename.endswith("hazelcast/future.py")
    return is_official and _of_conditions(frame, event)


def of_callbacks(frame: FrameType, event: str) -> bool:
    caller = frame.f_back
    if event != "call" or caller is None or "flask_hazelcast_failover" not in frame.f_code.co_filename:
        return False
    return caller.f_code.co_name == "_invoke_cb" and caller.f_code.co_filename.endswith("hazelcast/future.py")


def of_waits(frame: FrameType, event: str) -> bool:
    """As a thread returns from its wait for an answer."""
    code = frame.f_code
    return event == "call" and code.co_name == "wait" and code.co_filename.endswith("_threads/waiting.py")


POINTS: tuple[_IsPoint, ...] = (_of_conditions, of_futures, of_callbacks)

_marked = threading.Event()


def mark() -> None:
    """Points count from here on, where that was asked for."""
    _marked.set()


def interrupted(
    act: Callable[[], object], error: type[BaseException], is_point: _IsPoint, *, after_mark: bool = False
) -> Iterator[int]:
    """Run a function on a thread again and again, each time with an exception at another point; give its number."""
    for at in count(1):
        _marked.clear()
        if not _is_interrupted(
            act, at, error, lambda f, e: (not after_mark or _marked.is_set()) and is_point(f, e)
        ):
            return
        yield at


def answers(task: Callable[[], object], within: float = 15.0) -> None:
    """Run a task on a thread of its own, in time."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    _join(work, within)
    assert not errors, errors


def _is_interrupted(
    act: Callable[[], object], at: int, error: type[BaseException], is_point: _IsPoint
) -> bool:
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if is_point(frame, event):
            seen += 1
            if seen == at:
                raise error
        return trace

    def work() -> None:
        sys.settrace(trace)
        try:
            act()
        except (TimeLimit, SoftTimeLimit):
            pass
        finally:
            sys.settrace(None)

    _join(work, _END_TIMEOUT)
    return seen >= at


def _join(work: Callable[[], object], within: float) -> None:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(within)
    assert not thread.is_alive(), f"does not end within {within:g} s"
