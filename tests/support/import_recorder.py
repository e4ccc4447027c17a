"""Prints what modules of the package make or keep while they are imported: `python -m tests.support.import_recorder`.

Each line names one lock, thread-local, queue, thread, socket or process that a module makes, or one name that it keeps
and that gevent's patch replaces in the standard library.
"""

from __future__ import annotations

import _thread
import functools
import importlib
import os
import pkgutil
import queue
import select
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PACKAGE = "flask_hazelcast_failover"
FOLDER = str(Path(__file__).parents[2] / PACKAGE) + os.sep


def module_names() -> list[str]:
    """The package and every module below it."""
    package = importlib.import_module(PACKAGE)
    below = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    return [PACKAGE, *(module.name for module in below)]


def record(found: list[str]) -> None:
    """Replace whatever makes a lock, thread-local, queue, thread, socket or process by one that notes its caller."""
    made = (
        *(
            (_thread, name)
            for name in ("allocate_lock", "RLock", "_local", "start_new_thread", "start_joinable_thread")
        ),
        *(
            (threading, name)
            for name in ("Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier", "Thread")
        ),
        *((queue, name) for name in ("SimpleQueue", "Queue", "LifoQueue", "PriorityQueue")),
        *((select, name) for name in ("epoll", "poll", "kqueue")),
        *((socket, name) for name in ("socket", "socketpair", "getaddrinfo")),
        (subprocess, "Popen"),
        *((os, name) for name in ("fork", "pipe", "eventfd")),
    )
    replaced = {}
    for module, name in made:
        original = getattr(module, name, None)
        if original is not None and id(original) not in replaced:
            replaced[id(original)] = (original, _recording(original, f"{module.__name__}.{name}", found))
    for module in [*sys.modules.values(), functools]:
        for name, value in list(vars(module).items()):
            original, substitute = replaced.get(id(value), (None, None))
            if original is value and module is not sys.modules[__name__]:
                setattr(module, name, substitute)


def _recording(original: Any, name: str, found: list[str]) -> Any:
    """What stands for a function or class that makes something; a class can be extended."""

    def call(*given: Any, **named: Any) -> Any:
        _note(name, found)
        return original(*given, **named)

    def make(cls: type, *given: Any, **named: Any) -> Any:
        _note(name, found)
        new: Callable[..., Any] = original.__new__
        return new(cls) if new is object.__new__ else new(cls, *given, **named)

    if isinstance(original, type):
        try:
            return type(original)(original.__name__, (original,), {"__new__": make})
        except TypeError:
            pass  # cannot be extended
    return call


def _note(name: str, found: list[str]) -> None:
    """Note the line of the package that makes this, if one does: an import within another module is that module's."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_filename.startswith(FOLDER):
            place = f"{PACKAGE}/{frame.f_code.co_filename.removeprefix(FOLDER)}:{frame.f_lineno}"
            found.append(f"{place} makes {name}")
            return
        frame = frame.f_back


def kept_names(modules: list[types.ModuleType]) -> Iterator[str]:
    """What the modules keep of what gevent's patch replaces, wherever they keep it."""
    monkey: Any = importlib.import_module("gevent.monkey")
    monkey.patch_all()
    originals = {
        id(value): f"{module}.{name}"
        for module, names in monkey.saved.items()
        for name, value in names.items()
        if callable(value)
    }
    seen: set[int] = set()
    for module in modules:
        for name, value in list(vars(module).items()):
            yield from _kept(value, f"{module.__name__}.{name}", originals, seen)


def _kept(value: Any, path: str, originals: dict[int, str], seen: set[int]) -> Iterator[str]:
    if id(value) in originals:
        yield f"{path} keeps {originals[id(value)]}"
    if id(value) in seen or isinstance(value, str | bytes | int | float):
        return
    seen.add(id(value))
    for name, part in _parts(value):
        yield from _kept(part, f"{path}.{name}", originals, seen)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value of the package refers to."""
    if isinstance(value, dict):
        yield from ((str(key), part) for key, part in list(value.items()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((str(number), part) for number, part in enumerate(value))
    elif isinstance(value, functools.partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, staticmethod | classmethod):
        yield "__func__", value.__func__
    elif isinstance(value, property):
        yield "fget", value.fget
    elif isinstance(value, types.FunctionType):
        yield "defaults", (value.__defaults__, value.__kwdefaults__)
        yield "wraps", getattr(value, "__wrapped__", None)
        for cell in value.__closure__ or ():
            yield "closure", cell.cell_contents
    elif _is_own_namespace(value):
        yield from list(vars(value).items())
    elif _is_ours(type(value)):
        yield from list(getattr(value, "__dict__", {}).items())
        slots = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())]
        yield from ((name, getattr(value, name, None)) for name in slots)


def _is_own_namespace(value: Any) -> bool:
    """Whether this is a class of the package, or a module that it has made itself."""
    if isinstance(value, type):
        return _is_ours(value)
    return isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is not value


def _is_ours(cls: type) -> bool:
    return str(getattr(cls, "__module__", "")).startswith(PACKAGE)


def main() -> None:
    found: list[str] = []
    record(found)
    modules = [importlib.import_module(name) for name in module_names()]
    print("\n".join(dict.fromkeys([*found, *kept_names(modules)])))


if __name__ == "__main__":
    main()
