"""Archives of a member's loaded classes, with which it starts in a third to half of the time. Optional.

Java 25 and newer archive more than classes, what the official documents call an AOT cache: how call sites of lambdas
and of string concatenation were linked, which is a third of a member's start.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from flask_hazelcast_failover.testing._configuration import QUICK_START
from flask_hazelcast_failover.testing._java import java_version

_OLDEST_WITH_AOT_CACHES = 25


def find_archive(java: Path, jars: Sequence[Path]) -> Path | None:
    """Return the archive for this Java and these jars, or None if nobody has made it."""
    place = archive_place(java, jars)
    return place if place.is_file() else None


def archive_flag(java: Path, archive: Path) -> str:
    """Return the flag that has this Java use its archive; one that does not fit is passed over by the JVM."""
    return f"-XX:{'AOTCache' if has_aot_caches(java) else 'SharedArchiveFile'}={archive}"


def has_aot_caches(java: Path) -> bool:
    """Whether this Java makes AOT caches."""
    version = java_version(java)
    return version is not None and version >= _OLDEST_WITH_AOT_CACHES


def archive_place(java: Path, jars: Sequence[Path]) -> Path:
    """Return where the archive for this Java and these jars belongs, made or not.

    An archive fits one Java and the very jars that it was made from, which the JVM checks by time and size.
    """
    files = [java.resolve(), *jars]
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = hashlib.sha256(repr((QUICK_START, facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flask-hazelcast-failover" / f"member-{key}.jsa"
