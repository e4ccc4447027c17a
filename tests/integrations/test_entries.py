"""A change of an entry is made once or not at all; if that cannot be known, it raises."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient, OperationOutcomeUnknown
from flask_hazelcast_failover.integrations._entries import Entry, EntryMap, ends_in
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

MAP = "entries-tests"


class Line:
    """A client that connects to blue through a relay and to green directly, and another that only reads blue."""

    def __init__(self, relay: Relay, client: HazelcastClient, watcher: HazelcastClient) -> None:
        prefix = uuid4().hex
        self.relay = relay
        self.client = client
        self.entries = EntryMap(lambda: client, MAP, lambda: prefix)
        self.on_blue = EntryMap(lambda: watcher, MAP, lambda: prefix)

    def change_slowly(self) -> tuple[threading.Thread, list[Any]]:
        """Start to append "+" to the entry; the relay is slow once the old entry was read."""
        results: list[Any] = []

        def append(entry: Entry | None) -> Entry:
            if not results:
                results.append("called")
                self.relay.delay(0.3)
            return Entry((entry.value if entry else b"") + b"+", ends_in(60))

        def run() -> None:
            try:
                results.append(self.entries.change("key", append))
            except Exception as error:
                results.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread, results


@pytest.fixture
def line(blue: LocalCluster, green: LocalCluster) -> Iterator[Line]:
    with Relay(blue.addresses[0]) as relay, client_on(blue) as watcher:
        failover = FailoverConfig()
        failover.add_cluster("blue", [relay.address], smart_routing=False, known_members=False)
        failover.add_cluster("green", green.addresses)
        with HazelcastClient(failover, health_check_interval=0, retry_delay=0.05) as client:
            yield Line(relay, client, watcher)


def value(entry: Entry | None) -> bytes | None:
    return None if entry is None else entry.value


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_change_with_a_lost_answer_is_made_once(line: Line, before: bytes | None) -> None:
    if before is not None:
        line.entries.set("key", Entry(before))
    after = (before or b"") + b"+"
    changing, results = line.change_slowly()
    eventually(lambda: value(line.on_blue.get("key")) == after, within=2.0)
    line.relay.cut()
    line.relay.resume()
    changing.join(10)
    assert isinstance(results[-1], Entry) and results[-1].value == after
    assert line.client.status().current_cluster == "blue"
    assert value(line.on_blue.get("key")) == after


def test_a_change_with_a_lost_request_is_made(line: Line) -> None:
    line.entries.set("key", Entry(b"old"))
    changing, results = line.change_slowly()
    eventually(lambda: bool(results))
    line.relay.cut()
    line.relay.resume()
    changing.join(10)
    assert isinstance(results[-1], Entry) and value(line.on_blue.get("key")) == b"old+"


def test_a_change_lost_with_its_cluster_is_made_on_the_next(line: Line) -> None:
    line.entries.set("key", Entry(b"old"))
    changing, results = line.change_slowly()
    eventually(lambda: value(line.on_blue.get("key")) == b"old+", within=2.0)
    line.relay.refuse()
    changing.join(10)
    assert line.client.status().current_cluster == "green"
    assert isinstance(results[-1], Entry) and value(line.entries.get("key")) == b"+"


def test_a_lost_change_that_was_overwritten_is_unknown(line: Line) -> None:
    line.entries.set("key", Entry(b"old"))
    changing, results = line.change_slowly()
    eventually(lambda: value(line.on_blue.get("key")) == b"old+", within=2.0)
    line.on_blue.set("key", Entry(b"theirs"))
    line.relay.cut()
    line.relay.resume()
    changing.join(10)
    assert isinstance(results[-1], OperationOutcomeUnknown)
    assert value(line.on_blue.get("key")) == b"theirs"


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_lost_change_that_cannot_be_looked_up_is_unknown(blue: LocalCluster, before: bytes | None) -> None:
    with Relay(blue.addresses[0]) as relay, client_on(blue) as watcher:
        failover = FailoverConfig(try_count=1)
        failover.add_cluster("blue", [relay.address], smart_routing=False, known_members=False)
        with HazelcastClient(failover, health_check_interval=0) as client:
            line = Line(relay, client, watcher)
            if before is not None:
                line.entries.set("key", Entry(before))
            changing, results = line.change_slowly()
            eventually(lambda: value(line.on_blue.get("key")) == (before or b"") + b"+", within=2.0)
            relay.refuse()
            changing.join(10)
    assert isinstance(results[-1], OperationOutcomeUnknown)


def test_a_change_keeps_the_ttl_of_a_later_entry(line: Line) -> None:
    entries: Any = line.client.get_map(MAP).blocking()
    line.entries.set("key", Entry(b"for ever"))
    [at] = [at for at in entries.key_set() if line.entries._prefix() in at]
    line.entries._set_ttl(line.client.get_map(MAP), at, Entry(b"changed just before", ends_in(1)))
    eventually(lambda: entries.get_entry_view(at).ttl == 2**63 - 1)


def test_a_step_may_change_nothing(line: Line) -> None:
    line.entries.set("key", Entry(b"old"))
    assert line.entries.change("key", lambda entry: None) is None
    assert value(line.entries.get("key")) == b"old"
