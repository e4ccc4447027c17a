"""Optional archives of a member's loaded classes, with which it starts in a third to half of the time.

Java 25 and newer write AOT caches instead, which also hold how call sites of lambdas and string concatenations were
linked: a third of a member's start.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ._configuration import QUICK_START
from ._java import java_version

_OLDEST_WITH_AOT_CACHES = 25


def find_archive(java: Path, jars: Sequence[Path]) -> Path | None:
    """Return the archive for this Java and these jars, or None if there is none."""
    path = archive_path(java, jars)
    return path if path.is_file() else None


def archive_flag(java: Path, archive: Path) -> str:
    """Return the flag that makes this Java use an archive; the JVM ignores one that does not fit."""
    return f"-XX:{'AOTCache' if has_aot_caches(java) else 'SharedArchiveFile'}={archive}"


def has_aot_caches(java: Path) -> bool:
    """Whether this Java makes AOT caches."""
    version = java_version(java)
    return version is not None and version >= _OLDEST_WITH_AOT_CACHES


def archive_path(java: Path, jars: Sequence[Path]) -> Path:
    """Return the path of the archive for this Java and these jars, whether or not it exists.

    An archive fits one Java and the jars that it was made from, which the JVM checks by time and size.
    """
    files = [java.resolve(), *jars]
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = hashlib.sha256(repr((QUICK_START, facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flask-hazelcast-failover" / f"member-{key}.jsa"
