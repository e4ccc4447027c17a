"""Clients whose clusters a test can take away and bring back, and load on them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.client.status import ClusterStatus
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.relay import Relay
from tests.support.waiting import eventually

__all__ = [
    "TOLERANT",
    "WATCHFUL",
    "Load",
    "Offers",
    "Recorder",
    "Relayed",
    "cluster_of",
    "connected_to",
    "failure_times_ms",
    "is_on",
    "relayed",
]

TOLERANT: dict[str, Any] = {
    "try_count": 1,
    "retry_delay": 0.02,
    "connect_timeout": 3.0,
    "health_check_interval": 0.1,
    "health_check_timeout": 1.0,
    "health_check_failures": 30,
}
"""Options with short pauses, with which no cluster is lost because the machine is busy."""

WATCHFUL: dict[str, Any] = {"health_check_timeout": 0.8, "health_check_failures": 3}
"""Options with which a cluster that does not answer is lost soon."""

Kind = TypeVar("Kind", bound=Event)


class Recorder:
    """Records the events of a client."""

    def __init__(self, client: HazelcastClient) -> None:
        self.events: list[Event] = []  # appended to by the client's thread
        client.subscribe(self.events.append)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The events of one class, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def names(self) -> list[str]:
        """The class names of the events, in order."""
        return [type(event).__name__ for event in self.events]


class Relayed(NamedTuple):
    """A client, its recorded events, and the relays between it and the first member of each cluster."""

    client: HazelcastClient
    recorder: Recorder
    relays: Sequence[Relay]


@contextmanager
def relayed(*clusters: LocalCluster, **options: Any) -> Iterator[Relayed]:
    """Give a connected client that reaches each cluster through a relay of its own."""
    with ExitStack() as stack:
        relays = [stack.enter_context(Relay(cluster.addresses[0])) for cluster in clusters]
        addresses = {cluster.name: [relay.address] for cluster, relay in zip(clusters, relays, strict=True)}
        client, recorder = stack.enter_context(connected_to(addresses, **options))
        yield Relayed(client, recorder, relays)


@contextmanager
def connected_to(
    addresses: dict[str, list[str]], **options: Any
) -> Iterator[tuple[HazelcastClient, Recorder]]:
    """Give a connected client of clusters by name, in this order, and its recorded events."""
    failover = FailoverConfig()
    for name, members in addresses.items():
        failover.add_cluster(name, members, known_members=False)
    client = HazelcastClient(failover, **{**TOLERANT, **options})
    recorder = Recorder(client)
    with client:
        yield client, recorder


def cluster_of(client: HazelcastClient, label: str) -> ClusterStatus:
    """Return the status of one cluster."""
    return next(cluster for cluster in client.status().clusters if cluster.label == label)


def is_on(client: HazelcastClient, label: str) -> Callable[[], bool]:
    """Return a condition: a cluster is the current one."""
    return lambda: client.status().current_cluster == label


def failure_times_ms(client: HazelcastClient) -> list[float]:
    """Return how many milliseconds calls take that fail because no cluster is reachable."""
    numbers: Any = client.get_map("faults").blocking()
    took = []
    for _ in range(20):
        began = time.monotonic()
        try:
            numbers.get("key")
        except ClientOfflineException:
            took.append((time.monotonic() - began) * 1000)
        else:
            raise AssertionError("a call was answered")
    return took


class Load:
    """Threads that read and write without a pause while the block runs, and record errors.

    :param name: of the map
    """

    def __init__(self, client: HazelcastClient, name: str, threads: int = 8) -> None:
        self._numbers: Any = client.get_map(name).blocking()
        self.errors: list[Exception] = []  # appended to by all threads
        self.calls = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)

    def wait_for_progress(self) -> None:
        """Wait until the threads have made some more calls."""
        seen = self.calls
        eventually(lambda: self.calls >= seen + 4 * len(self._threads), 10.0)

    def _run(self, thread: int) -> None:
        for turn in itertools.count():
            if self._ended.is_set():
                return
            try:
                self._call(thread, turn)
            except Exception as error:
                self.errors.append(error)
            self.calls += 1

    def _call(self, thread: int, turn: int) -> None:
        self._numbers.set(thread, turn)
        self._numbers.get(thread)


class Offers(Load):
    """Load that includes an operation which must not run twice: each item is offered once.

    :param name: of the queue
    """

    def __init__(self, client: HazelcastClient, name: str, threads: int = 8) -> None:
        super().__init__(client, name, threads)
        self._queue: Any = client.get_queue(name).blocking()
        self.offered: list[tuple[int, int]] = []  # appended to by all threads

    def _call(self, thread: int, turn: int) -> None:
        assert self._queue.offer((thread, turn))
        self.offered.append((thread, turn))
