"""What importing the package does to its process: next to nothing."""

from __future__ import annotations

import ast
import enum
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.structure import PACKAGE, ROOT

# What gevent and others replace: whoever keeps a name of these has the one from before.
REPLACED = {
    "_thread",
    "queue",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
}


def run_module(name: str) -> list[str]:
    """Run a module of the tests as a program and return the lines that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", name]
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


def test_imports_make_and_keep_nothing_that_a_late_patch_replaces() -> None:
    """No module makes a lock, a thread-local, a queue, a thread or a socket at import, or keeps what makes one."""
    assert run_module("tests.support.import_recorder") == []


def test_the_recorder_sees_what_modules_make_and_keep(tmp_path: Path) -> None:
    """Locks made by the standard library for a module, and names hidden in a class or a partial, are seen too."""
    program = """
import importlib, sys, types
import tests.support.import_recorder as recorder
recorder.FOLDER = sys.argv[1]
recorder.PACKAGE = "planted"
found = []
recorder.record(found)
sys.path.insert(0, sys.argv[1])
planted = importlib.import_module("planted")
print("\\n".join([*found, *recorder.kept_names([planted])]))
"""
    (tmp_path / "planted.py").write_text("""
import functools, queue, threading, time
from concurrent.futures import Future
waiting = queue.Queue()
answer = Future()
class Held:
    seen = threading.local()
    pause = staticmethod(time.sleep)
pause = functools.partial(time.sleep, 1)
def wait(sleep=time.sleep): ...
def later(): return threading.Lock()
""")
    command = [sys.executable, "-c", program, f"{tmp_path}{os.sep}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert {line.partition(" ")[0] for line in lines} >= {
        *(f"planted/planted.py:{number}" for number in (4, 5, 7)),
        *(f"planted.{path}" for path in ("Held.pause.__func__", "pause.func", "wait.defaults.0.0")),
    }, done.stdout + done.stderr
    assert not [line for line in lines if ":11" in line]


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_names_what_a_late_patch_replaces_at_import(module: Path) -> None:
    """Functions find what they need of `threading`, `time` and `socket` when they run."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    at_import = list(_at_import(tree.body))
    imported = {name.name for node in at_import if isinstance(node, ast.Import) for name in node.names}
    found = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in at_import
        if isinstance(node, ast.stmt | ast.expr) and _is_kept(node, imported)
    ]
    assert not found, "\n".join(found)


def test_every_module_can_be_imported_where_there_is_no_fork() -> None:
    """Without what Windows lacks in `os`, `signal`, `select`, and without modules such as `fcntl`."""
    assert run_module("tests.support.without_fork") == []


def _is_kept(node: ast.AST, imported: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and node.module in REPLACED
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return False
    if node.value.id not in imported & REPLACED:
        return False
    value = getattr(importlib.import_module(node.value.id), node.attr)
    return not isinstance(value, int | enum.EnumMeta)  # constants are not replaced


def _at_import(nodes: list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """What the interpreter evaluates as it imports: not the bodies of functions, nor annotations."""
    rest: list[ast.AST] = [*nodes]
    while rest:
        node = rest.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            # Default values of inner functions are evaluated later, those of this one now.
            rest += [
                *node.args.defaults,
                *(default for default in node.args.kw_defaults if default is not None),
            ]
            rest += getattr(node, "decorator_list", [])
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            rest += node.orelse
        elif isinstance(node, ast.AnnAssign):
            rest += [] if node.value is None else [node.value]
        else:
            rest += ast.iter_child_nodes(node)
