"""One attempt: one try at one cluster, which ends by its deadline whatever the peer does.

Its addresses are asked in parallel; the official client is opened on what answered. It yields the
open client or raises :class:`AttemptFailed`, which says why for each address.
"""

from __future__ import annotations

import queue
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence

from hazelcast.config import Config
from hazelcast.core import AddressHelper

from flask_hazelcast_failover.client.official import (
    OfficialClient,
    Opening,
    missing_parts,
    unsupported_version,
)
from flask_hazelcast_failover.client.probe import Answer, Verdict, ask

__all__ = ["AttemptFailed", "attempt"]


class AttemptFailed(Exception):
    """No connection was made. ``verdict`` says whether somebody refused or nobody answered."""

    def __init__(self, why: str, verdict: Verdict) -> None:
        super().__init__(why)
        self.verdict = verdict


def attempt(
    addresses: Sequence[str],
    build_config: Callable[[Sequence[str]], Config],
    deadline: float,
) -> OfficialClient:
    """Open an official client on a cluster.

    :param addresses: where members may be, "host:port" or "host"
    :param build_config: gives a fresh configuration for the addresses that answered
    :param deadline: when the attempt is over, monotonic seconds
    """
    asked = [str(address) for address in _expanded(addresses)]
    random.shuffle(asked)  # many clients should not all begin with the same member
    with _Probes(asked, build_config(asked), deadline) as probes:
        members = probes.members()
        return _open(build_config([member.address for member in members]), members, deadline)


def _expanded(addresses: Sequence[str]) -> list[str]:
    expanded: list[str] = []
    for address in addresses:
        primary, secondary = AddressHelper.get_possible_addresses(address)
        expanded += [f"{found.host}:{found.port}" for found in (*primary, *secondary)]
    return expanded


class _Probes:
    """Every address asked at once; their connections stay open as long as the ``with`` block."""

    def __init__(self, addresses: Sequence[str], config: Config, deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._answers: queue.Queue[Answer] = queue.Queue()
        self._lock = threading.Lock()
        self._closed = False  # under _lock
        self._open: list[socket.socket] = []  # under _lock
        for address in addresses:
            threading.Thread(
                target=self._ask,
                args=(address, config),
                name="hazelcast-failover-probe",
                daemon=True,
            ).start()

    def __enter__(self) -> _Probes:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for connection in self._open:
                connection.close()

    def members(self) -> list[Answer]:
        """The members that answered until the first did, that one included."""
        failed: list[Answer] = []
        for _ in self._addresses:
            try:
                answer = self._answers.get(timeout=max(0.0, self._deadline - time.monotonic()))
            except queue.Empty:
                break
            if answer.verdict is Verdict.MEMBER:
                return [answer, *self._others()]
            failed.append(answer)
        raise self._failure(failed)

    def _ask(self, address: str, config: Config) -> None:
        answer = ask(address, config, self._deadline)
        with self._lock:
            if answer.connection is not None and self._closed:
                answer.connection.close()
            elif answer.connection is not None:
                self._open.append(answer.connection)
        self._answers.put(answer)

    def _others(self) -> list[Answer]:
        others = []
        while not self._answers.empty():
            answer = self._answers.get()
            if answer.verdict is Verdict.MEMBER:
                others.append(answer)
        return others

    def _failure(self, failed: Sequence[Answer]) -> AttemptFailed:
        said = {answer.address: answer.why for answer in failed}
        why = "; ".join(f"{address}: {said.get(address, 'timed out')}" for address in sorted(self._addresses))
        refusing = any(answer.verdict is Verdict.REFUSING for answer in failed)
        return AttemptFailed(why, Verdict.REFUSING if refusing else Verdict.ABSENT)


def _open(config: Config, members: Sequence[Answer], deadline: float) -> OfficialClient:
    """Open the official client, and give up at once when the members that answered hang up."""
    waker, wakes = socket.socketpair()
    with selectors.DefaultSelector() as selector, waker, wakes:
        selector.register(wakes, selectors.EVENT_READ)
        for member in members:
            assert member.connection is not None
            member.connection.setblocking(False)
            selector.register(member.connection, selectors.EVENT_READ)
        opening = Opening(config, done=lambda: _wake(waker))
        alive = len(members)
        while alive and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if key.fileobj is wakes:
                    return _opened(opening, members)
                if _hung_up(key.fileobj):  # type: ignore[arg-type]
                    selector.unregister(key.fileobj)
                    alive -= 1
    threading.Thread(target=opening.client.abandon, name="hazelcast-failover-close", daemon=True).start()
    where = ", ".join(member.address for member in members)
    if not alive:
        raise AttemptFailed(f"{where}: closed by the other side after authenticating", Verdict.ABSENT)
    raise AttemptFailed(f"{where}: timed out: authenticated, but no member list came", Verdict.ABSENT)


def _opened(opening: Opening, members: Sequence[Answer]) -> OfficialClient:
    client = opening.client
    where = ", ".join(member.address for member in members)
    if opening.error is not None:
        raise AttemptFailed(f"{where}: {opening.error}", Verdict.ABSENT)
    if missing := missing_parts(client):
        client.abandon()
        raise AttemptFailed(unsupported_version(missing), Verdict.REFUSING)
    return client


def _wake(waker: socket.socket) -> None:
    try:
        waker.send(b"!")
    except OSError:
        pass  # the attempt is over


def _hung_up(connection: socket.socket) -> bool:
    try:
        return not connection.recv(65536)
    except BlockingIOError:
        return False
    except OSError:
        return True
