"""The size of the package's parts, read from its source: `python -m tests.support.structure` prints the figures."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_hazelcast_failover"
TESTS = ROOT / "tests"


class Part(NamedTuple):
    """A module, function or folder by its name, and its size: in lines, for a folder in modules."""

    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.size} {self.name}"


def modules(folder: Path) -> list[Part]:
    """Every module below a folder, with its lines."""
    return [Part(_lines(path), _name(path)) for path in sorted(folder.rglob("*.py"))]


def functions(folder: Path) -> list[Part]:
    """Every function and method below a folder, with its lines: decorators and doc strings count."""
    return [
        Part(_length(function), f"{_name(path)}:{function.name}")
        for path in sorted(folder.rglob("*.py"))
        for function in _functions(path)
    ]


def folders(folder: Path) -> list[Part]:
    """A folder and every one below it that has modules, with how many it has of its own, `__init__` not counted."""
    found = Counter(_name(path.parent) for path in folder.rglob("*.py") if path.name != "__init__.py")
    return [Part(size, name) for name, size in sorted(found.items())]


def rooms(folder: Path) -> set[str]:
    """The names of a folder's subpackages, without a leading underscore."""
    return {path.parent.name.removeprefix("_") for path in folder.glob("*/__init__.py")}


def longer_than(limit: int, parts: Iterable[Part]) -> list[str]:
    """The parts above a limit, the largest first."""
    return [str(part) for part in sorted(parts, reverse=True) if part.size > limit]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = min(node.lineno for node in (function, *function.decorator_list))
    assert function.end_lineno is not None
    return function.end_lineno - first + 1


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def main() -> None:
    found = modules(PACKAGE)
    print(f"{sum(module.size for module in found)} lines in {len(found)} modules")
    print(f"longest module    {max(found)}")
    print(f"longest function  {max(functions(PACKAGE))}")
    print(f"largest folder    {max(folders(PACKAGE))}")


if __name__ == "__main__":
    main()
