"""The queue of a slow listener is bounded: further events are dropped, logged and counted."""

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hazelcast.client import HazelcastClient as OfficialClient
from hazelcast.proxy.base import TopicMessage
from hazelcast.proxy.reliable_topic import ReliableMessageListener
from hazelcast.serialization.api import CompactReader, CompactSerializer, CompactWriter

from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_on
from tests.support.listeners import KINDS
from tests.support.waiting import eventually

LOGGER = "flask_hazelcast_failover.listeners"
LARGE = "x" * 20_000


class Slow:
    """A listener that is blocked by its first event until it is released."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._release = threading.Event()

    def __call__(self, event: Any) -> None:
        self.events.append(event)
        self._release.wait(30)

    def release(self) -> None:
        self._release.set()

    def is_blocked(self) -> bool:
        return len(self.events) == 1


@pytest.fixture
def slow() -> Iterator[Slow]:
    listener = Slow()
    yield listener
    listener.release()


@contextmanager
def publisher(cluster: LocalCluster, **options: Any) -> Iterator[Any]:
    client = OfficialClient(cluster_name=cluster.name, cluster_members=cluster.addresses, **options)
    yield client
    client.shutdown()


def dropped(client: Any) -> int:
    count: int = client.operation_counts().dropped_events
    return count


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind(kind: str, blue: LocalCluster, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    """A listener of any kind gets as many events as may wait, misses some, and gets all once it keeps up."""
    add, cause, remove = KINDS[kind]
    with client_on(blue, listener_queue_events=4) as client:
        id_ = add(client, slow)
        cause(client)
        eventually(slow.is_blocked)
        for _ in range(10):
            cause(client)
        eventually(lambda: dropped(client) == 6)
        assert len(logged(caplog)) == 1, "one warning when it begins"
        slow.release()
        eventually(lambda: len(slow.events) == 5)
        cause(client)
        eventually(lambda: len(slow.events) == 6)
        assert dropped(client) == 6
        begun, over = logged(caplog)
        assert "4 events" in begun
        assert kind.split()[0] in begun or "HazelcastClient" in begun
        assert "Slow" in begun
        assert "6 of its events were dropped" in over
        assert {record.levelno for record in caplog.records if record.name == LOGGER} == {logging.WARNING}
        remove(client, id_)


@pytest.mark.parametrize("structure", ["topic", "reliable_topic"])
def test_bytes(structure: str, blue: LocalCluster, slow: Slow) -> None:
    """The limit in bytes is one of serialized messages."""
    with client_on(blue, listener_queue_bytes=100_000) as client:
        topic = getattr(client, f"get_{structure}")("bytes").blocking()
        topic.add_listener(slow)
        topic.publish("first")
        eventually(slow.is_blocked)
        for _ in range(10):
            topic.publish(LARGE)
        eventually(lambda: dropped(client) == 6)
        topic.publish("small")  # there is room for this one
        slow.release()
        eventually(lambda: len(slow.events) == 6)
        assert [len(event.message) for event in slow.events] == [5, *[len(LARGE)] * 4, 5]


def test_bytes_of_entries(blue: LocalCluster, slow: Slow) -> None:
    """An entry's key and value count, and nothing does for a listener without values."""
    with client_on(blue, listener_queue_bytes=100_000) as client:
        entries = client.get_map("sizes").blocking()
        keys: list[Any] = []
        entries.add_entry_listener(True, added_func=slow)
        entries.add_entry_listener(False, added_func=keys.append)
        entries.set(0, "first")
        eventually(slow.is_blocked)
        for key in range(1, 11):
            entries.set(key, LARGE)
        eventually(lambda: dropped(client) == 6)
        slow.release()
        eventually(lambda: len(keys) == 11)
        assert len(slow.events) == 5
        entries.destroy()


def test_larger_than_the_limit(blue: LocalCluster, slow: Slow) -> None:
    """An event that is larger than the limit is queued if nothing else is."""
    with client_on(blue, listener_queue_bytes=1) as client:
        topic = client.get_topic("larger").blocking()
        topic.add_listener(slow)
        topic.publish("first")
        eventually(slow.is_blocked)
        topic.publish(LARGE)
        topic.publish("too much")
        eventually(lambda: dropped(client) == 1)
        slow.release()
        eventually(lambda: len(slow.events) == 2)


class _Parcel:
    def __init__(self, content: str) -> None:
        self.content = content


class _ParcelSerializer(CompactSerializer[_Parcel]):
    def read(self, reader: CompactReader) -> _Parcel:
        return _Parcel(reader.read_string("content") or "")

    def write(self, writer: CompactWriter, obj: _Parcel) -> None:
        writer.write_string("content", obj.content)

    def get_type_name(self) -> str:
        return "parcel"

    def get_class(self) -> type[_Parcel]:
        return _Parcel


def test_events_decoded_late(blue: LocalCluster, slow: Slow) -> None:
    """Events whose schema has to be fetched first count with their size too."""
    serializers = {"compact_serializers": [_ParcelSerializer()]}
    with (
        client_on(blue, listener_queue_bytes=100_000, client_options=serializers) as client,
        publisher(blue, **serializers) as other,
    ):
        client.get_topic("parcels").blocking().add_listener(slow)
        parcels = other.get_topic("parcels").blocking()
        parcels.publish(_Parcel("first"))
        eventually(slow.is_blocked)
        for _ in range(10):
            parcels.publish(_Parcel(LARGE))
        eventually(lambda: dropped(client) == 6)


def test_queues_are_independent(blue: LocalCluster, slow: Slow) -> None:
    """A full queue takes no room from another."""
    with client_on(blue, listener_queue_events=10) as client:
        full, other = client.get_topic("full").blocking(), client.get_topic("other").blocking()
        received: list[int] = []
        full.add_listener(slow)
        other.add_listener(lambda event: received.append(event.message))
        full.publish(0)
        eventually(slow.is_blocked)
        for number in range(30):
            full.publish(number)
        eventually(lambda: dropped(client) == 20)
        for number in range(10):
            other.publish(number)
        slow.release()
        eventually(lambda: len(received) == 10)
        assert received == list(range(10))
        assert dropped(client) == 20


def test_lifecycle_listeners(blue: LocalCluster, slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    """A listener of the client's state is bounded as others are."""
    with client_on(blue, listener_queue_events=2) as client:
        client.lifecycle_service.add_listener(slow)
        for number in range(6):
            client._runtime.lifecycle.fire(f"state {number}")
            eventually(lambda: slow.events)
        assert dropped(client) == 3
        slow.release()
        eventually(lambda: len(slow.events) == 3)
        assert "lifecycle listener" in logged(caplog)[0]


def test_membership_listeners(blue: LocalCluster, green: LocalCluster, slow: Slow) -> None:
    """A listener of members is bounded as others are."""
    with client_on(blue, green, listener_queue_events=2) as client:
        client.cluster_service.add_listener(slow, None)
        for label in ("green", "blue") * 3:
            client.switch_to(label)
            eventually(lambda: slow.events)
        eventually(lambda: dropped(client) == 3)


@pytest.mark.parametrize("how", ["removed", "destroyed"])
def test_memory_of_a_removed_listener(how: str, blue: LocalCluster, slow: Slow) -> None:
    """The queue of a removed listener is freed although another listener blocks the thread."""
    with client_on(blue) as client:
        holding, topic = client.get_topic("holding").blocking(), client.get_topic(how).blocking()
        holding.add_listener(slow)
        holding.publish("first")
        eventually(slow.is_blocked)
        id_ = topic.add_listener(print)
        for _ in range(20):
            topic.publish(LARGE)
        eventually(lambda: messages_of(how) == 20)
        if how == "removed":
            topic.remove_listener(id_)
        else:
            topic.destroy()
        eventually(lambda: messages_of(how) == 0)


def messages_of(name: str) -> int:
    return sum(isinstance(thing, TopicMessage) and thing.name == name for thing in gc.get_objects())


class Reliable(ReliableMessageListener[Any]):
    def __init__(self, slow: Slow, *, is_tolerant: bool) -> None:
        self._slow = slow
        self.is_cancelled = False
        self._is_tolerant = is_tolerant

    def on_message(self, message: TopicMessage[Any]) -> None:
        self._slow(message)

    def retrieve_initial_sequence(self) -> int:
        return -1

    def store_sequence(self, sequence: int) -> None:
        assert type(sequence) is int

    def is_loss_tolerant(self) -> bool:
        return self._is_tolerant

    def on_cancel(self) -> None:
        self.is_cancelled = True


@pytest.mark.parametrize("is_tolerant", [True, False])
def test_loss_tolerance(is_tolerant: bool, blue: LocalCluster, slow: Slow) -> None:
    """A listener of a reliable topic that tolerates no loss ends with one, as officially; another continues."""
    with client_on(blue, listener_queue_events=4) as client:
        topic = client.get_reliable_topic(f"tolerant {is_tolerant}").blocking()
        listener = Reliable(slow, is_tolerant=is_tolerant)
        topic.add_listener(listener)
        topic.publish("first")
        eventually(slow.is_blocked)
        for _ in range(10):
            topic.publish("more")
        eventually(lambda: dropped(client) >= (6 if is_tolerant else 1))
        slow.release()
        eventually(lambda: len(slow.events) == 5)
        topic.publish("after it")
        eventually(lambda: listener.is_cancelled or len(slow.events) == 6)
        assert listener.is_cancelled is not is_tolerant


def test_flood_delays_no_operation(blue: LocalCluster, slow: Slow) -> None:
    """A flood of events to a blocked listener costs the memory of its queue, and delays no operation."""
    with client_on(blue, listener_queue_bytes=1_000_000) as client, publisher(blue) as other:
        topic, entries = other.get_topic("flood"), client.get_map("flood").blocking()
        client.get_topic("flood").blocking().add_listener(slow)
        topic.publish("first").result()
        eventually(slow.is_blocked)
        for _ in range(100):
            topic.publish_all([LARGE] * 10).result()
            began = time.monotonic()
            entries.get("k")
            assert time.monotonic() - began < 3
        eventually(lambda: dropped(client) > 900)
        assert messages_of("flood") <= 60
        assert client.status().epoch == 1
