"""Archives of a member's loaded classes, which make it start in two thirds of the time. Optional, and made on request."""

import hashlib
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from flask_hazelcast_failover.testing.configuration import MemberOptions
from flask_hazelcast_failover.testing.errors import MemberStartError
from flask_hazelcast_failover.testing.member import Member
from flask_hazelcast_failover.testing.ports import free_port

_SECONDS_TO_START = 60.0


def find_archive(java: Path, jars: Sequence[Path]) -> Path | None:
    """Return the archive for this Java and these jars, or None if nobody has made it."""
    place = _place(java, jars)
    return place if place.is_file() else None


def make_archive(java: Path, jars: Sequence[Path]) -> Path:
    """Return the archive for this Java and these jars; made, by a member that starts and ends, if it is missing.

    Raises MemberStartError when the member does not start, or when this Java makes no archive.
    """
    place = _place(java, jars)
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as directory:
        made = Path(directory, place.name)
        member = _start(java, jars, made)
        try:
            member.shut_down()
        finally:
            member.kill()
        if not made.is_file():
            raise MemberStartError(
                f"{java} made no archive of classes. The end of its log:\n{member.log(25)}"
            )
        made.replace(place)  # whole or not at all, though others may be making it too
    return place


def _start(java: Path, jars: Sequence[Path], archive: Path) -> Member:
    options = MemberOptions(
        cluster_name="archive",
        java=java,
        jars=tuple(jars),
        jet=len(jars) > 1,
        jvm_flags=(f"-XX:ArchiveClassesAtExit={archive}",),
    )
    member = Member.launch(options, 0, free_port(), None, archive.parent, lite=False)
    deadline = time.monotonic() + _SECONDS_TO_START
    try:
        while not member.is_ready(1):
            if time.monotonic() > deadline:
                raise MemberStartError(f"{member!r} did not start within {_SECONDS_TO_START:g} s.")
            time.sleep(0.01)
    except BaseException:
        member.kill()
        raise
    return member


def _place(java: Path, jars: Sequence[Path]) -> Path:
    """An archive fits one Java and the very jars that it was made from, which the JVM checks by time and size."""
    files = [java.resolve(), *jars]
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flask-hazelcast-failover" / f"member-{key}.jsa"
