"""Map entries with an exact expiry, which many processes can change at once without losing a change.

A member expires entries on whole seconds only, and a replaced entry loses its time to live. So the exact expiry
is stored with the value; the member's time to live is a little longer and only removes expired entries.

A change is a compare-and-set of the whole stored form, which includes a random token. Threads of one process
queue for a lock and processes back off, which keeps a hundred contenders for one key efficient.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hazelcast.errors import ClientOfflineError, HazelcastError, OperationTimeoutError
from hazelcast.future import Future
from hazelcast.predicate import Predicate, regex

from ..client import HazelcastClient
from ..errors import OperationOutcomeUnknown

NEVER = math.inf

# Version 1: expiry in seconds since 1970, token, value.
_VERSION = 1
_HEADER = struct.Struct(">Bd8s")

# How much longer than its expiry the member keeps an entry, seconds: members expire up to one second early.
_EXTRA_TTL = 2
# No member takes a later expiry, seconds since 1970: it counts milliseconds, in 64 bits.
_LATEST_END = 9e15
# How long a change is tried while others are faster, seconds.
_CHANGE_TIMEOUT = 10.0
# How many operations on single keys are in flight at once, and how many keys one question asks for.
_AT_ONCE, _ASKED_AT_ONCE = 1_000, 10_000
# No cluster can be reached, or none answers in time.
OFFLINE_ERRORS = (ClientOfflineError, OperationTimeoutError)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 0.03
# How long a thread waits for the lock, seconds; then it continues without it, since the holder may be blocked.
_LOCK_TIMEOUT = 0.25
# Not the shared generator: forked workers have it in the same state, and would back off for the same times.
_random = random.SystemRandom()


def ends_in(seconds: float) -> float:
    """The expiry of an entry that lives for so many seconds from now; 0 means forever."""
    return time.time() + seconds if seconds else NEVER


@dataclass(frozen=True)
class Entry:
    """A value and its expiry.

    :param end: seconds since 1970, or ``NEVER``
    :param token: distinguishes this entry from others with the same value
    """

    value: bytes
    end: float = NEVER
    token: bytes = field(default_factory=lambda: os.urandom(8))

    @property
    def is_expired(self) -> bool:
        """Whether it has expired."""
        return self.end <= time.time()


Step = Callable[["Entry | None"], "Entry | None"]


class EntryMap:
    """The entries of one map whose keys begin with one prefix.

    Prefixes cannot collide: the stored key says how long its prefix is.

    :param client: gives the client, at each operation
    :param name: name of the map
    :param prefix: gives the prefix, at each operation
    """

    def __init__(self, client: Callable[[], HazelcastClient], name: str, prefix: Callable[[], str]) -> None:
        self._client = client
        self._name = name
        self._prefix = prefix
        self._locks = _StripedLocks()

    def get(self, key: str) -> Entry | None:
        """The entry; ``None`` if there is none, or it is expired or malformed."""
        return _live(self._blocking().get(self._stored(key)))

    def get_all(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Those of the entries that exist and are not expired, ten thousand in one round trip."""
        stored = {self._stored(key): key for key in keys}
        target, waiting = self._blocking(), iter(stored)
        entries: dict[str, Entry] = {}
        while asked := list(islice(waiting, _ASKED_AT_ONCE)):
            for stored_key, raw in target.get_all(asked).items():
                entry = _live(raw)
                if entry is not None:
                    entries[stored[stored_key]] = entry
        return entries

    def set(self, key: str, entry: Entry) -> None:
        """Put an entry; it replaces any other."""
        self._blocking().set(self._stored(key), _packed(entry), ttl=_time_to_live(entry))

    def set_all(self, entries: Mapping[str, Entry]) -> Iterator[str]:
        """Put many entries, a thousand at once; give each key that was put. The first error ends it."""
        target = self._map()

        def put(key: str) -> Future[None]:
            entry = entries[key]
            return target.set(self._stored(key), _packed(entry), ttl=_time_to_live(entry))  # type: ignore[no-any-return]

        return _each(entries, put)

    def change(self, key: str, step: Step) -> Entry | None:
        """Replace an entry atomically.

        :param step: gets the entry, or ``None`` if there is none, and returns the new one, or ``None`` to change
            nothing; it may be called several times
        :return: what ``step`` has returned last
        :raises OperationOutcomeUnknown: the change may or may not have been made
        :raises OperationTimeoutError: others were faster for 10 seconds
        """
        stored_key, target = self._stored(key), self._blocking()
        with self._locks.hold(stored_key):
            for pause in _pauses():
                raw = target.get(stored_key)
                changed = step(_live(raw))
                if changed is None or self._swap(target, stored_key, raw, changed):
                    return changed
                time.sleep(pause)
        raise OperationTimeoutError(
            f"the entry {key!r} of the map {self._name!r} was changed by others for {_CHANGE_TIMEOUT:g} s without a gap"
        )

    def take(self, key: str) -> Entry | None:
        """Remove an entry and return it.

        :raises OperationOutcomeUnknown: it may or may not have been removed
        """
        return _live(self._blocking().remove(self._stored(key)))

    def remove(self, key: str) -> None:
        """Remove an entry, if there is one."""
        self._blocking().delete(self._stored(key))

    def remove_all(self, keys: Iterable[str]) -> Iterator[str]:
        """Remove many entries, a thousand at once; give each key whose entry has gone. The first error ends it."""
        target = self._map()
        return _each(keys, lambda key: target.delete(self._stored(key)))

    def clear(self) -> None:
        """Remove every entry of this prefix, and no other, whatever others have put into the map."""
        try:
            self._blocking().remove_all(self._own_keys())
        except OFFLINE_ERRORS:
            raise
        except HazelcastError:
            # Of any class: what members say of a key of another type that they compare with ours.
            for _ in _each(self._read_own_keys(), self._map().delete):
                pass

    def count(self) -> int:
        """The number of entries of this prefix."""
        try:
            return len(self._blocking().key_set(self._own_keys()))
        except OFFLINE_ERRORS:
            raise
        except HazelcastError:  # as in clear()
            return len(self._read_own_keys())

    def _read_own_keys(self) -> list[str]:
        """The keys of this prefix, told apart here, since members cannot."""
        head = self._key_head()
        return [key for key in self._blocking().key_set() if isinstance(key, str) and key.startswith(head)]

    def _swap(self, target: Any, stored_key: str, raw: Any, changed: Entry) -> bool:
        packed = _packed(changed)
        cluster = self._cluster()
        try:
            if raw is None:
                return target.put_if_absent(stored_key, packed, ttl=_time_to_live(changed)) is None
            if not target.replace_if_same(stored_key, raw, packed):
                return False
        except OperationOutcomeUnknown as unknown:
            try:
                found = target.get(stored_key)
            except HazelcastError:
                raise unknown from None
            if _unpacked(found) != changed:
                # Unchanged, or on another cluster: the change was not made in the current data.
                if found == raw or cluster != self._cluster():
                    return False
                raise
        if changed.end != NEVER:
            self._set_ttl(self._map(), stored_key, changed)
        return True

    def _set_ttl(self, target: Any, stored_key: str, entry: Entry) -> None:
        """Restore the time to live, which the replacement has removed. Does not wait; may fail without harm.

        If another process has put a longer-lived entry meanwhile, that one's time to live is restored.
        """
        seconds = _time_to_live(entry)
        expires_at = time.time() + seconds - 1 if seconds else NEVER

        def check(future: Future[Any]) -> None:
            current = _unpacked(future.result()) if future.is_success() else None
            if current is not None and current.end > expires_at:
                self._set_ttl(target, stored_key, current)

        with contextlib.suppress(HazelcastError):
            target.set_ttl(stored_key, seconds)
            target.get(stored_key).add_done_callback(check)

    def _cluster(self) -> str | None:
        return self._client().status().current_cluster

    def _map(self) -> Any:
        return self._client().control.get_plain_map(self._name)

    def _blocking(self) -> Any:
        return self._map().blocking()

    def _stored(self, key: str) -> str:
        return f"{self._key_head()}{key}"

    def _key_head(self) -> str:
        prefix = self._prefix()
        return f"{len(prefix)}:{prefix}"

    def _own_keys(self) -> Predicate:
        # In Java, a backslash escapes anything but ASCII letters and digits.
        literal = "".join(c if c.isalnum() or not c.isascii() else f"\\{c}" for c in self._key_head())
        return regex("__key", f"(?s){literal}.*")


def _each(keys: Iterable[str], start: Callable[[str], Future[None]]) -> Iterator[str]:
    """Do something for each key, so much at once that round trips cost nothing; give each key for which it was done.

    After the first error nothing more is started, since each operation may take as long to fail; it is raised when
    those in flight have ended.
    """
    waiting = iter(keys)
    in_flight: deque[tuple[str, Future[None]]] = deque()
    failure: Exception | None = None
    while True:
        if failure is None:
            in_flight.extend((key, start(key)) for key in islice(waiting, _AT_ONCE - len(in_flight)))
        if not in_flight:
            break
        key, future = in_flight.popleft()
        try:
            future.result()
        except Exception as error:
            failure = failure or error
        else:
            yield key
    if failure is not None:
        raise failure


class _StripedLocks:
    """Has the threads of this process change the same key one after the other. An optimisation, not a guarantee."""

    def __init__(self) -> None:
        self._pid = 0
        self._locks: list[threading.Lock] = []

    @contextlib.contextmanager
    def hold(self, key: str) -> Iterator[None]:
        if self._pid != os.getpid():  # a lock that is held during a fork stays locked in the child
            self._locks = [threading.Lock() for _ in range(64)]
            self._pid = os.getpid()
        number = hash(key) % len(self._locks)
        lock = self._locks[number]
        is_held = lock.acquire(timeout=_LOCK_TIMEOUT)
        if not is_held:
            # Whoever took it may have been interrupted, and never let it go.
            self._locks[number] = threading.Lock()
        try:
            yield
        finally:
            if is_held:
                lock.release()


def _pauses() -> Iterator[float]:
    end = time.monotonic() + _CHANGE_TIMEOUT
    longest = _FIRST_PAUSE
    while time.monotonic() < end:
        yield _random.uniform(0, longest)
        longest = min(2 * longest, _LONGEST_PAUSE)


def _time_to_live(entry: Entry) -> int:
    return 0 if entry.end == NEVER else max(0, math.ceil(entry.end - time.time())) + _EXTRA_TTL


def _packed(entry: Entry) -> bytearray:
    return bytearray(_HEADER.pack(_VERSION, entry.end, entry.token) + entry.value)


def _unpacked(raw: Any) -> Entry | None:
    if not isinstance(raw, bytearray) or len(raw) < _HEADER.size or raw[0] != _VERSION:
        return None
    _, end, token = _HEADER.unpack_from(raw)
    if end != NEVER and not end < _LATEST_END:
        return None  # also if it is no number
    return Entry(bytes(raw[_HEADER.size :]), end, token)


def _live(raw: Any) -> Entry | None:
    entry = _unpacked(raw)
    return None if entry is None or entry.is_expired else entry
