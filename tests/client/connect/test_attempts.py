"""An attempt ends by its deadline whatever the peer does, says why it failed, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hazelcast.config import Config
from hazelcast.connection import ConnectionManager, _Reader

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client._connect import probe as probing
from flask_hazelcast_failover.client._connect.probe import Verdict
from flask_hazelcast_failover.client._official.transport.reader import CheckedReader
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.attempts import HTTP, failure, opened
from tests.support.fair_time import fair_time
from tests.support.fake_servers import (
    Behaviour,
    Peer,
    after_authenticating,
    answering,
    dropping_packets,
    exception_reply,
    hanging_up,
    record_acceptance,
    silent,
    trickling,
    unused_address,
    with_status,
)
from tests.support.relay import Relay
from tests.support.waiting import eventually, takes_less

SSH = b"SSH-2.0-OpenSSH_9.6\r\n"
REDIS = b"-ERR unknown command 'CP2'\r\n"
NOISE = bytes(range(7, 250)) * 5
ENDLESS_FRAMES = (16).to_bytes(4, "little") + bytes(12)


@pytest.fixture(scope="session")
def acceptance(shared_clusters: tuple[LocalCluster, LocalCluster]) -> bytes:
    blue = shared_clusters[0]
    return record_acceptance(blue.addresses[0], blue.name)


def left_behind() -> tuple[int, int]:
    """Threads of ours and of official clients, and open files."""
    names = [thread.name for thread in threading.enumerate()]
    threads = [name for name in names if name.startswith(("hazelcast-failover", "hazelcast-reactor"))]
    return len(threads), psutil.Process().num_fds()


@contextlib.contextmanager
def nothing_left_behind(within: float = 5.0) -> Iterator[None]:
    before = left_behind()
    yield

    def is_as_before() -> bool:
        now = left_behind()
        assert all(left <= was for left, was in zip(now, before, strict=True)), f"{now}, before {before}"
        return True

    eventually(is_as_before, within, "threads and files are what they were")


@contextlib.contextmanager
def peer_address(behaviour: Behaviour) -> Iterator[str]:
    with Peer(behaviour) as peer:
        yield peer.address


class TestBadPeers:
    @pytest.mark.timing
    def test_a_refused_port_fails_in_milliseconds(self) -> None:
        address = unused_address()
        failed = failure([address], within=5.0)
        assert takes_less(0.1, lambda: failure([address], within=5.0))
        assert str(failed) == f"{address}: refused"
        assert failed.verdict is Verdict.ABSENT

    def test_dropped_packets(self) -> None:
        with dropping_packets() as address:
            failed = failure([address])
        assert str(failed) == f"{address}: timed out"
        assert failed.verdict is Verdict.ABSENT

    def test_packets_that_are_dropped_at_first(self) -> None:
        with dropping_packets(1.2) as address:
            failed = failure([address], within=2.4)
        assert "timed out: connected, but no answer to the authentication" in str(failed)

    @pytest.mark.parametrize(
        ("behaviour", "why", "verdict"),
        [
            (silent, "timed out: connected, but no answer to the authentication", Verdict.ABSENT),
            (hanging_up, "closed by the other side while authenticating", Verdict.ABSENT),
            (answering(HTTP), "not a Hazelcast member (it answered b'HTTP/1.1 400 Bad", Verdict.REFUSING),
            (answering(SSH), "not a Hazelcast member (it answered b'SSH-2.0-OpenSSH", Verdict.REFUSING),
            (answering(REDIS), 'not a Hazelcast member (it answered b"-ERR unknown', Verdict.REFUSING),
            (answering(NOISE), "not a Hazelcast member", Verdict.REFUSING),
            (answering(b"\x00" * 64), "not a Hazelcast member", Verdict.REFUSING),
            (answering(ENDLESS_FRAMES * 9000), "not a Hazelcast member", Verdict.REFUSING),
            (answering(ENDLESS_FRAMES + bytes(60)), "not a Hazelcast member", Verdict.REFUSING),
            (answering(b"no"), "timed out: connected, but no answer", Verdict.ABSENT),
            (trickling(ENDLESS_FRAMES, 0.02), "timed out", Verdict.ABSENT),
        ],
        ids=[
            "accepts and stays silent",
            "closes at once",
            "HTTP",
            "SSH",
            "redis",
            "noise",
            "zeros",
            "frames without end",
            "a frame and then zeros",
            "two bytes",
            "byte by byte",
        ],
    )
    def test_peers_that_are_no_members(self, behaviour: Behaviour, why: str, verdict: Verdict) -> None:
        with Peer(behaviour) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: {why}" in str(failed)
        assert failed.verdict is verdict

    @pytest.mark.parametrize(
        ("status", "why"),
        [
            (1, "wrong cluster name 'blue', or bad credentials"),
            (2, "another version of serialization"),
            (3, "the client is not allowed in the cluster"),
            (9, "authentication refused with status 9"),
        ],
    )
    def test_members_that_refuse(self, status: int, why: str, acceptance: bytes) -> None:
        with Peer(after_authenticating(with_status(acceptance, status))) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: {why}" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_bad_credentials(self, acceptance: bytes) -> None:
        with Peer(after_authenticating(with_status(acceptance, 1))) as peer:
            failed = failure([peer.address], creds_username="me", creds_password="hush-hush")
        assert f"{peer.address}: bad credentials, or wrong cluster name 'blue'" in str(failed)
        assert "hush-hush" not in str(failed)

    def test_an_authentication_error_is_a_refusal(self) -> None:
        reply = exception_reply(3, "com.hazelcast.client.AuthenticationException")
        with Peer(answering(reply)) as peer:
            failed = failure([peer.address])
        assert "bad credentials" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_a_starting_member_is_absent(self) -> None:
        """It has answered with an error, which is no refusal."""
        reply = exception_reply(19, "com.hazelcast.core.HazelcastInstanceNotActiveException")
        with Peer(answering(reply)) as peer:
            failed = failure([peer.address])
        assert "the member answered with HazelcastInstanceNotActive" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    def test_a_real_member_of_another_name(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, cluster_name="azure")
        assert f"{blue.addresses[0]}: wrong cluster name 'azure'" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_a_real_member_of_another_name_and_credentials(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, cluster_name="azure", creds_username="me", creds_password="hush")
        assert "wrong cluster name 'azure'" in str(failed)

    def test_a_frozen_member(self, start_cluster: StartCluster) -> None:
        cluster = start_cluster("blue")
        cluster.freeze()
        assert "timed out: connected, but no answer" in str(failure(cluster.addresses))

    def test_authenticates_and_sends_no_member_list(self, acceptance: bytes) -> None:
        with Peer(after_authenticating(acceptance)) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: timed out: authenticated, but no member list came" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    @pytest.mark.timing
    def test_authenticates_and_closes(self, acceptance: bytes) -> None:
        with Peer(after_authenticating(acceptance, hanging_up)) as peer:
            failed = failure([peer.address], within=3.0)
            assert takes_less(0.5, lambda: failure([peer.address], within=3.0))
        assert "closed by the other side" in str(failed)

    @pytest.mark.parametrize("garbage", [bytes(100_000), NOISE, (5).to_bytes(4, "little") + bytes(60)])
    def test_authenticates_and_sends_garbage(self, garbage: bytes, acceptance: bytes) -> None:
        with nothing_left_behind(), Peer(after_authenticating(acceptance, answering(garbage))) as peer:
            failure([peer.address])

    def test_the_official_reader_loops_forever(self) -> None:
        """When this fails, the official client has fixed its reader, and CheckedReader can go."""
        reader: Any = _Reader(None)
        reader.read(bytes(64))
        left = []
        for _ in range(3):
            reader._read_frame()
            left.append(reader.length)
        assert left == [64, 64, 64]

    def test_a_reader_frees_what_it_has_read(self) -> None:
        """Also if each read ends within a message."""
        size = 20_000
        frame = (size + 6).to_bytes(4, "little") + (0xE000).to_bytes(2, "little") + bytes(size)
        messages: list[int] = []
        builder = SimpleNamespace(on_message=lambda message: messages.append(len(message.start_frame.buf)))
        reader: Any = CheckedReader(builder)
        flood, step = frame * 1000, 128_000
        for start in range(0, len(flood), step):
            reader.read(flood[start : start + step])
            reader.process()
            assert reader._buf.getbuffer().nbytes < 2_000_000
        assert messages == [size] * 1000

    @pytest.mark.timing
    def test_authenticates_twice_and_closes(self, acceptance: bytes) -> None:
        next_behaviours = iter([silent])

        def behave(connection: socket.socket) -> None:
            after_authenticating(acceptance, next(next_behaviours, hanging_up))(connection)

        with Peer(behave) as peer:
            began = fair_time()
            failed = failure([peer.address], within=3.0)
        assert fair_time() - began < 1.0
        assert "closed by the other side" in str(failed)


class TestOneGoodMember:
    @pytest.mark.timing
    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param(lambda: contextlib.nullcontext(unused_address()), id="refuses"),
            pytest.param(dropping_packets, id="drops packets"),
            pytest.param(lambda: peer_address(silent), id="silent"),
            pytest.param(lambda: peer_address(answering(HTTP)), id="HTTP"),
            pytest.param(lambda: contextlib.nullcontext("nowhere.invalid:5701"), id="no such name"),
        ],
    )
    def test_a_bad_address_beside_it_costs_no_time(
        self, bad: Callable[[], AbstractContextManager[str]], blue: LocalCluster
    ) -> None:
        with bad() as address, nothing_left_behind():
            assert takes_less(0.4, lambda: opened([address, *blue.addresses], within=5.0).shutdown())

    @pytest.mark.timing
    def test_a_member_without_a_member_list_delays_little(
        self, blue: LocalCluster, acceptance: bytes
    ) -> None:
        """It answers first, so the first client is opened on it, and a second one on the good member."""
        with Peer(after_authenticating(acceptance)) as peer, Relay(blue.addresses[0]) as relay:
            relay.delay(0.05)
            began = fair_time()
            opened([peer.address, relay.address], within=3.0).shutdown()
            assert fair_time() - began < 2.0

    @pytest.mark.timing
    def test_a_frozen_member_in_the_list_costs_little_time(self, start_cluster: StartCluster) -> None:
        cluster = start_cluster("blue", members=2)
        cluster.freeze(1)

        def connect() -> None:
            client = opened(cluster.addresses, within=5.0)
            try:
                assert len(client.member_list()) == 2
                assert len(client.connected_members()) == 1
            finally:
                client.abandon()

        assert takes_less(0.5, connect)

    def test_all_members_are_connected(
        self, start_cluster: StartCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The official client would connect by itself a second later.
        monkeypatch.setattr(ConnectionManager, "_start_connect_all_members_timer", lambda _: None)
        client = opened(start_cluster("blue", members=2).addresses[:1])
        try:
            eventually(lambda: len(client.connected_members()) == 2)
        finally:
            client.shutdown()


class TestLeaks:
    @pytest.mark.parametrize("times", [50])
    @pytest.mark.parametrize(
        "kind", ["refused", "silent", "dropped", "garbage", "no member list", "hangs up", "no such name"]
    )
    def test_nothing_after_fifty_failed_attempts(self, kind: str, times: int, acceptance: bytes) -> None:
        bad: dict[str, AbstractContextManager[str]] = {
            "refused": contextlib.nullcontext(unused_address()),
            "silent": peer_address(silent),
            "dropped": dropping_packets(),
            "garbage": peer_address(answering(NOISE)),
            "no member list": peer_address(after_authenticating(acceptance)),
            "hangs up": peer_address(after_authenticating(acceptance, hanging_up)),
            "no such name": contextlib.nullcontext("nowhere.invalid:5701"),
        }
        with bad[kind] as address:
            failure([address], within=0.05)
            with nothing_left_behind():
                for _ in range(times):
                    failure([address], within=0.03)

    def test_nothing_after_a_start_that_fails(self, acceptance: bytes) -> None:
        with (
            Peer(silent) as mute,
            Peer(after_authenticating(acceptance)) as listless,
            dropping_packets() as dropping,
        ):
            failover = FailoverConfig()
            for label, address in (("a", mute.address), ("b", listless.address), ("c", dropping)):
                failover.add_cluster(label, [address])
            failover.add_cluster("d", [unused_address(), "nowhere.invalid:5701"])
            client = HazelcastClient(failover, connect_timeout=0.1, try_count=2, retry_delay=0.01)
            peers = threading.active_count()
            with pytest.raises(ClientOfflineException):
                client.start()
            # A lookup by the system's resolver cannot be interrupted.
            ours = {t.name for t in threading.enumerate() if t.name.startswith("hazelcast")}
            assert ours <= {"hazelcast-failover-lookup"}
            assert threading.active_count() <= peers + 4  # of the peers
            with nothing_left_behind():
                for _ in range(5):
                    with pytest.raises(ClientOfflineException):
                        client.start()


def test_a_probe_that_succeeds_after_its_end_is_closed(
    blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, is_closed = threading.Event(), threading.Event()
    authenticate = probing._authenticate

    def slowly(*arguments: Any) -> Any:
        reply = authenticate(*arguments)
        asked.set()
        assert is_closed.wait(5)
        return reply

    monkeypatch.setattr(probing, "_authenticate", slowly)
    config = Config()
    config.cluster_name = "blue"
    ended: queue.SimpleQueue[probing.Probe] = queue.SimpleQueue()
    deadline = time.monotonic() + 5
    probe = probing.Probe(
        blue.addresses[0], "127.0.0.1", config=config, context=None, deadline=deadline, on_done=ended.put
    )
    assert asked.wait(5)
    probe.cancel()
    probe.close(time.monotonic())
    is_closed.set()
    connection = ended.get(timeout=5).result.connection
    assert connection is not None and connection.fileno() == -1
