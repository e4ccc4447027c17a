"""Messages above ``max_message_size``: their call fails, nothing is kept, and the cluster is not lost."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest
from hazelcast.protocol.client_message import ClientMessageBuilder

from flask_hazelcast_failover.client._official.transport.reader import CheckedReader, TooLargeError
from flask_hazelcast_failover.errors import MessageTooLarge
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.clients import client_at, client_on
from tests.support.fair_time import fair_time
from tests.support.faults import Recorder
from tests.support.protocol_relay import ProtocolRelay
from tests.support.waiting import eventually

MAP_GET = 0x010200
UNFRAGMENTED, BEGIN, END, FINAL = 0xC000, 0x8000, 0x4000, 0x2000
LIMIT = 64 * 1024
GIB_2 = 2**31 - 1


def frame(content: bytes, flags: int = 0, announced: int | None = None) -> bytes:
    return struct.pack("<iH", len(content) + 6 if announced is None else announced, flags) + content


def start(correlation: int, flags: int = UNFRAGMENTED, announced: int | None = None) -> bytes:
    return frame(struct.pack("<iqB", 0x010201, correlation, 0), flags, announced)


class Reading:
    """A reader, and what it has said."""

    def __init__(self, limit: int = 1000) -> None:
        self.messages: list[Any] = []
        self.refused: list[tuple[int | None, int]] = []
        builder = ClientMessageBuilder(self.messages.append)
        self.reader: Any = CheckedReader(builder, limit, lambda *what: self.refused.append(what))

    def read(self, data: bytes) -> None:
        self.reader.read(data)
        self.reader.process()


class TestReader:
    @pytest.mark.parametrize(
        ("data", "known"),
        [
            (start(7, announced=GIB_2), 7),
            (start(7) + frame(b"", 0, GIB_2), 7),
            (start(7) + frame(bytes(500)) + frame(b"", FINAL, 600), 7),
            (start(7) + frame(b"") * 200, 7),
        ],
    )
    def test_what_a_frame_announces_counts(self, data: bytes, known: int | None) -> None:
        reading = Reading()
        with pytest.raises(TooLargeError, match="max_message_size is 1,000"):
            reading.read(data)
        [(correlation, size)] = reading.refused
        assert correlation == known and size > 1000 and reading.messages == []
        assert reading.reader._buf.getbuffer().nbytes == 0

    def test_the_call_is_awaited_if_only_a_header_came(self) -> None:
        reading = Reading()
        data = start(7, announced=GIB_2)
        reading.read(start(6) + frame(bytes(10), FINAL))
        reading.read(data[:5])
        assert reading.reader.awaited_size == 0
        reading.read(data[5:17])
        assert reading.reader.awaited_size == GIB_2 and reading.refused == []
        with pytest.raises(TooLargeError):
            reading.read(data[17:])
        assert [correlation for correlation, _ in reading.refused] == [7]

    def test_fragments_count_together(self) -> None:
        reading = Reading()
        number = struct.pack("<q", 1)
        reading.read(frame(number, BEGIN) + start(7, 0) + frame(bytes(400), FINAL))
        reading.read(start(8) + frame(bytes(900), FINAL))
        reading.read(frame(number, 0) + frame(bytes(400), FINAL))
        with pytest.raises(TooLargeError):
            reading.read(frame(number, END) + frame(b"", FINAL, 400))
        assert [correlation for correlation, _ in reading.refused] == [7]
        assert [message.get_correlation_id() for message in reading.messages] == [8]

    def test_what_fits_is_read_however_often(self) -> None:
        reading = Reading()
        for number in range(5):
            reading.read(start(number) + frame(bytes(969), FINAL))
            fragment = struct.pack("<q", number)
            reading.read(frame(fragment, BEGIN) + start(number, 0) + frame(bytes(400), FINAL))
            reading.read(frame(fragment, END) + frame(bytes(500), FINAL))
        assert len(reading.messages) == 10 and reading.refused == []
        assert reading.reader._fragmented == {}

    def test_it_is_found_while_more_comes_than_is_read(self) -> None:
        """The official loop looks at nothing for as long as the socket has more."""
        reading = Reading()

        def read_on() -> None:
            data = start(7, announced=GIB_2) + bytes(100_000)
            for _ in range(100):
                reading.reader.read(data)

        with pytest.raises(TooLargeError):
            read_on()
        assert reading.reader._bytes_written <= 2 * 2**20


@pytest.mark.parametrize("many", [False, True], ids=["one member", "two members"])
def test_a_large_answer_fails_its_call_and_loses_no_cluster(many: bool, start_cluster: Any) -> None:
    cluster: LocalCluster = start_cluster("blue", members=2 if many else 1)
    with client_on(cluster, max_message_size=LIMIT) as client:
        recorder = Recorder(client)
        values: Any = client.get_map("large").blocking()
        values.set("large", "x" * 200_000)
        values.set("small", "y")
        epoch = client.status().epoch
        counter: Any = client.get_pn_counter("once").blocking()
        counter.get()
        for number in range(3):
            with pytest.raises(MessageTooLarge, match=r"200,\d{3} bytes.*max_message_size is 65,536"):
                values.get("large")
            values.lock("small")  # would not be repeated
            values.unlock("small")
            assert counter.add_and_get(1) == number + 1
        with pytest.raises(MessageTooLarge):
            client.get_map("large").get("large").result()
        assert values.get("small") == "y"
        assert client.status().epoch == epoch and client.status().state == "connected"
        assert "ClusterLost" not in recorder.names()


def test_listeners_hear_events_after_a_large_answer(start_cluster: Any) -> None:
    cluster: LocalCluster = start_cluster("blue")
    with client_on(cluster, max_message_size=LIMIT) as client:
        values: Any = client.get_map("heard").blocking()
        heard: list[object] = []
        values.add_entry_listener(added_func=lambda event: heard.append(event.key))
        values.set("large", "x" * 200_000)
        with pytest.raises(MessageTooLarge):
            values.get("large")

        def add() -> bool:
            values.remove("new")
            values.set("new", 1)
            return "new" in heard

        eventually(add)


def test_a_peer_that_announces_2_gib_is_left_at_once(blue: LocalCluster) -> None:
    """And the client reconnects to the same cluster."""
    flooding = threading.Event()
    with ProtocolRelay(blue.addresses[0]) as relay, client_at(("blue", relay.address)) as client:
        values: Any = client.get_map("announced").blocking()
        values.set("key", 1)
        flood = bytes(20 * 2**20)

        def rule(type_: int, correlation: bytes) -> bytes | None:
            if type_ != MAP_GET or flooding.is_set():
                return None
            flooding.set()
            return struct.pack("<iHi", GIB_2, UNFRAGMENTED, 0x010201) + correlation + flood

        relay.rule = rule
        began, epoch = fair_time(), client.status().epoch
        with pytest.raises(MessageTooLarge, match=r"2,147,483,6\d\d bytes.*536,870,912"):
            values.get("key")
        assert values.get("key") == 1
        assert fair_time() - began < 5 and client.status().epoch == epoch


def test_a_peer_that_announces_2_gib_and_nothing_else_is_left(blue: LocalCluster) -> None:
    announced = threading.Event()
    with (
        ProtocolRelay(blue.addresses[0]) as relay,
        client_at(("blue", relay.address), health_check_interval=0) as client,
    ):
        values: Any = client.get_map("announced").blocking()
        values.set("key", 1)

        def rule(type_: int, _: bytes) -> bytes | None:
            if type_ != MAP_GET or announced.is_set():
                return None
            announced.set()
            return struct.pack("<iH", GIB_2, UNFRAGMENTED)

        relay.rule = rule
        began, epoch = fair_time(), client.status().epoch
        assert values.get("key") == 1  # a lost read, which is repeated
        assert fair_time() - began < 4 and client.status().epoch == epoch


def test_a_member_that_does_not_come_back_is_lost_as_ever(start_cluster: Any) -> None:
    cluster: LocalCluster = start_cluster("blue")
    with ProtocolRelay(cluster.addresses[0]) as relay:
        with client_at(("blue", relay.address), max_message_size=LIMIT, try_count=1) as client:
            values: Any = client.get_map("gone").blocking()
            values.set("large", "x" * 200_000)
            relay._listener.shutdown(socket.SHUT_RDWR)
            relay._listener.close()
            with pytest.raises(MessageTooLarge):
                values.get("large")
            cluster.kill()
            eventually(lambda: client.status().state == "offline", within=15)
