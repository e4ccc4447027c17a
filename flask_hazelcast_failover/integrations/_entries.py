"""Entries with an exact end in a map, which many processes change at once without losing a change.

A member ends an entry's time to live on whole seconds, and a replaced entry loses it. So the exact end is
stored beside the value, and the member's own time to live, a little longer, only clears up.

A change is a compare-and-set of the whole stored form, a random token included. Threads of one process
take turns and processes back off, so that a hundred contenders for one key do not wear each other out.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hazelcast.errors import HazelcastError, OperationTimeoutError
from hazelcast.future import Future
from hazelcast.predicate import Predicate, regex

from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.errors import OperationOutcomeUnknown

__all__ = ["NEVER", "Entry", "EntryMap", "ends_in"]

NEVER = math.inf

# Version 1: end in seconds since 1970, token, value.
_VERSION = 1
_HEAD = struct.Struct(">Bd8s")

# How much longer than an entry the member keeps it, seconds: it may end a time to live almost one early.
_CLEARING_UP = 2
# A change that loses against others for this long, seconds, is given up.
_PATIENCE = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.03
# A thread that waited for its turn for this long, seconds, goes ahead without: the other may be held up.
_TURN = 0.25
# Not the one that a server has before it forks: its workers would then wait alike, and meet again.
_chance = random.SystemRandom()


def ends_in(seconds: float) -> float:
    """The end of an entry that lives for so many seconds from now; 0 means that it never ends."""
    return time.time() + seconds if seconds else NEVER


@dataclass(frozen=True)
class Entry:
    """A value, and until when it counts (seconds since 1970, ``NEVER`` for always)."""

    value: bytes
    end: float = NEVER
    token: bytes = field(default_factory=lambda: os.urandom(8))

    @property
    def is_over(self) -> bool:
        """Whether its end has passed."""
        return self.end <= time.time()


Step = Callable[["Entry | None"], "Entry | None"]


class EntryMap:
    """The entries of one map whose keys begin with one prefix.

    Prefixes cannot collide: the stored key says how long its prefix is.

    :param client: gives the client, anew for each operation
    :param name: name of the map
    :param prefix: gives the prefix, anew for each operation
    """

    def __init__(self, client: Callable[[], HazelcastClient], name: str, prefix: Callable[[], str]) -> None:
        self._client = client
        self._name = name
        self._prefix = prefix
        self._turns = _Turns()

    def get(self, key: str) -> Entry | None:
        """The entry, unless it is over or unreadable."""
        return _live(self._blocking().get(self._stored(key)))

    def get_all(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Those entries that are there and not over, in one go."""
        stored = {self._stored(key): key for key in keys}
        if not stored:
            return {}
        found = {stored[at]: _live(raw) for at, raw in self._blocking().get_all(list(stored)).items()}
        return {key: entry for key, entry in found.items() if entry is not None}

    def set(self, key: str, entry: Entry) -> None:
        """Put an entry in the place of any other."""
        self._blocking().set(self._stored(key), _packed(entry), ttl=_time_to_live(entry))

    def set_all(self, entries: Mapping[str, Entry]) -> list[tuple[str, Future[None]]]:
        """Put many entries, all on their way at once; gives each key with its future."""
        target = self._map()
        return [
            (key, target.set(self._stored(key), _packed(entry), ttl=_time_to_live(entry)))
            for key, entry in entries.items()
        ]

    def change(self, key: str, step: Step) -> Entry | None:
        """Replace an entry by what ``step`` makes of it, as if nobody else changed it meanwhile.

        ``step`` gets the entry, or ``None`` if there is none, and returns the new one, or ``None`` to leave
        everything as it is; it may be called several times. Returns what ``step`` did last.

        :raises OperationOutcomeUnknown: it cannot be known whether the change was made
        :raises OperationTimeoutError: others were faster for 10 seconds
        """
        at, target = self._stored(key), self._blocking()
        with self._turns.take(at):
            for pause in _pauses():
                raw = target.get(at)
                changed = step(_live(raw))
                if changed is None or self._swap(target, at, raw, changed):
                    return changed
                time.sleep(pause)
        raise OperationTimeoutError(
            f"the entry {key!r} of the map {self._name!r} was changed by others for {_PATIENCE:g} s without a gap"
        )

    def remove(self, key: str) -> bool:
        """Remove an entry; whether there was one (true as well when that cannot be known)."""
        target = self._blocking()
        try:
            return _live(target.remove(self._stored(key))) is not None
        except OperationOutcomeUnknown:
            target.delete(self._stored(key))
            return True

    def remove_all(self, keys: Iterable[str]) -> list[tuple[str, Future[None]]]:
        """Remove many entries, all on their way at once; gives each key with its future."""
        target = self._map()
        return [(key, target.delete(self._stored(key))) for key in keys]

    def clear(self) -> None:
        """Remove every entry of this prefix, and no other."""
        self._blocking().remove_all(self._mine())

    def count(self) -> int:
        """How many entries of this prefix there are."""
        return len(self._blocking().key_set(self._mine()))

    def _swap(self, target: Any, at: str, raw: Any, changed: Entry) -> bool:
        packed = _packed(changed)
        cluster = self._cluster()
        try:
            if raw is None:
                return target.put_if_absent(at, packed, ttl=_time_to_live(changed)) is None
            if not target.replace_if_same(at, raw, packed):
                return False
        except OperationOutcomeUnknown as unknown:
            try:
                there = target.get(at)
            except HazelcastError:
                raise unknown from None
            if _unpacked(there) != changed:
                # Unchanged, or on another cluster: our change was not made in what counts now.
                if there == raw or cluster != self._cluster():
                    return False
                raise
        if changed.end != NEVER:
            self._renew(self._map(), at, changed)
        return True

    def _renew(self, target: Any, at: str, entry: Entry) -> None:
        # The change is made: this is clearing up, which nobody waits for and whose failure undoes nothing.
        # Somebody else may have put an entry in that lives longer: then its time to live is put right again.
        seconds = _time_to_live(entry)
        granted = time.time() + seconds - 1 if seconds else NEVER

        def put_right(found: Future[Any]) -> None:
            there = _unpacked(found.result()) if found.is_success() else None
            if there is not None and there.end > granted:
                self._renew(target, at, there)

        with contextlib.suppress(HazelcastError):
            target.set_ttl(at, seconds)
            target.get(at).add_done_callback(put_right)

    def _cluster(self) -> str | None:
        return self._client().status().current_cluster

    def _map(self) -> Any:
        return self._client().get_map(self._name)

    def _blocking(self) -> Any:
        return self._map().blocking()

    def _stored(self, key: str) -> str:
        return f"{self._head()}{key}"

    def _head(self) -> str:
        prefix = self._prefix()
        return f"{len(prefix)}:{prefix}"

    def _mine(self) -> Predicate:
        # A backslash before anything but a letter or a digit of ASCII takes its meaning away in Java.
        literal = "".join(c if c.isalnum() or not c.isascii() else f"\\{c}" for c in self._head())
        return regex("__key", f"(?s){literal}.*")


class _Turns:
    """Lets the threads of this process change the same key one after the other. A help, not a guarantee."""

    def __init__(self) -> None:
        self._pid = 0
        self._locks: list[threading.Lock] = []

    @contextlib.contextmanager
    def take(self, at: str) -> Iterator[None]:
        if self._pid != os.getpid():  # a lock held at a fork would stay held in the child
            self._locks = [threading.Lock() for _ in range(64)]
            self._pid = os.getpid()
        lock = self._locks[hash(at) % len(self._locks)]
        taken = lock.acquire(timeout=_TURN)
        try:
            yield
        finally:
            if taken:
                lock.release()


def _pauses() -> Iterator[float]:
    until = time.monotonic() + _PATIENCE
    longest = _FIRST_PAUSE
    while time.monotonic() < until:
        yield _chance.uniform(0, longest)
        longest = min(2 * longest, _LONGEST_PAUSE)


def _time_to_live(entry: Entry) -> int:
    return 0 if entry.end == NEVER else max(0, math.ceil(entry.end - time.time())) + _CLEARING_UP


def _packed(entry: Entry) -> bytearray:
    return bytearray(_HEAD.pack(_VERSION, entry.end, entry.token) + entry.value)


def _unpacked(raw: Any) -> Entry | None:
    if not isinstance(raw, bytearray) or len(raw) < _HEAD.size or raw[0] != _VERSION:
        return None
    _, end, token = _HEAD.unpack_from(raw)
    return Entry(bytes(raw[_HEAD.size :]), end, token)


def _live(raw: Any) -> Entry | None:
    entry = _unpacked(raw)
    return None if entry is None or entry.is_over else entry
