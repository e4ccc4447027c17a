"""One attempt ends by `connect_timeout` whatever the peer does, says why, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from hazelcast.config import Config
from hazelcast.connection import _Reader

from flask_hazelcast_failover import (
    ClientConfig,
    ClientOfflineException,
    FailoverConfig,
    HazelcastClient,
)
from flask_hazelcast_failover.client.attempt import AttemptFailed, attempt
from flask_hazelcast_failover.client.official import OfficialClient
from flask_hazelcast_failover.client.probe import Verdict
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.peers import (
    Behaviour,
    Peer,
    after_authenticating,
    answering,
    dropping_packets,
    exception_reply,
    hanging_up,
    recorded_welcome,
    silent,
    trickling,
    unused_address,
    with_status,
)
from tests.support.relay import Relay
from tests.support.waiting import eventually

CONNECT_TIMEOUT = 0.4
# What an attempt may take beyond its time on a machine that does other things as well.
LEEWAY = 0.35

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"
REDIS = b"-ERR unknown command 'CP2'\r\n"
NOISE = bytes(range(7, 250)) * 5
ENDLESS_FRAMES = (16).to_bytes(4, "little") + bytes(12)


def configured(cluster_name: str = "blue", **options: Any) -> Callable[[Sequence[str]], Config]:
    def build(addresses: Sequence[str]) -> Config:
        config = ClientConfig.from_dict({"cluster_name": cluster_name, "cluster_members": list(addresses)})
        for name, value in options.items():
            setattr(config, name, value)
        return config

    return build


def opened(addresses: Sequence[str], within: float = 2.0, **options: Any) -> OfficialClient:
    return attempt(addresses, configured(**options), time.monotonic() + within)


def failure(addresses: Sequence[str], within: float = CONNECT_TIMEOUT, **options: Any) -> AttemptFailed:
    """Have an attempt fail, in time."""
    began = time.monotonic()
    with pytest.raises(AttemptFailed) as caught:
        opened(addresses, within, **options)
    took = time.monotonic() - began
    assert took < within + LEEWAY
    return caught.value


@pytest.fixture(scope="session")
def welcome(shared_clusters: tuple[LocalCluster, LocalCluster]) -> bytes:
    blue = shared_clusters[0]
    return recorded_welcome(blue.addresses[0], blue.name)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


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


class TestPeersThatDoNotLetUsIn:
    def test_a_refused_port_is_known_in_milliseconds(self) -> None:
        address = unused_address()
        began = time.monotonic()
        failed = failure([address], within=5.0)
        assert time.monotonic() - began < 0.1
        assert str(failed) == f"{address}: refused"
        assert failed.verdict is Verdict.ABSENT

    def test_dropped_packets(self) -> None:
        with dropping_packets() as address:
            failed = failure([address])
        assert str(failed) == f"{address}: timed out"
        assert failed.verdict is Verdict.ABSENT

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
    def test_members_that_refuse(self, status: int, why: str, welcome: bytes) -> None:
        with Peer(after_authenticating(with_status(welcome, status))) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: {why}" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_bad_credentials(self, welcome: bytes) -> None:
        with Peer(after_authenticating(with_status(welcome, 1))) as peer:
            failed = failure([peer.address], creds_username="me", creds_password="hush-hush")
        assert f"{peer.address}: bad credentials, or wrong cluster name 'blue'" in str(failed)
        assert "hush-hush" not in str(failed)

    def test_an_authentication_error_is_a_refusal(self) -> None:
        reply = exception_reply(3, "com.hazelcast.client.AuthenticationException")
        with Peer(answering(reply)) as peer:
            failed = failure([peer.address])
        assert "bad credentials" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_a_member_that_is_only_starting_is_absent_and_does_not_refuse(self) -> None:
        reply = exception_reply(19, "com.hazelcast.core.HazelcastInstanceNotActiveException")
        with Peer(answering(reply)) as peer:
            failed = failure([peer.address])
        assert "the member answered with HazelcastInstanceNotActive" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    def test_a_real_member_of_another_name(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, cluster_name="azure")
        assert f"{blue.addresses[0]}: wrong cluster name 'azure'" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_a_real_member_of_another_name_when_credentials_are_configured(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, cluster_name="azure", creds_username="me", creds_password="hush")
        assert "wrong cluster name 'azure'" in str(failed)

    def test_a_frozen_member(self, start_cluster: StartCluster) -> None:
        cluster = start_cluster("blue")
        cluster.freeze()
        assert "timed out: connected, but no answer" in str(failure(cluster.addresses))

    def test_authenticates_and_sends_no_member_list(self, welcome: bytes) -> None:
        with Peer(after_authenticating(welcome)) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: timed out: authenticated, but no member list came" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    def test_authenticates_and_closes(self, welcome: bytes) -> None:
        with Peer(after_authenticating(welcome, hanging_up)) as peer:
            began = time.monotonic()
            failed = failure([peer.address], within=3.0)
        assert time.monotonic() - began < 0.5
        assert "closed by the other side" in str(failed)

    @pytest.mark.parametrize("garbage", [bytes(100_000), NOISE, (5).to_bytes(4, "little") + bytes(60)])
    def test_authenticates_and_sends_garbage(self, garbage: bytes, welcome: bytes) -> None:
        with nothing_left_behind(), Peer(after_authenticating(welcome, answering(garbage))) as peer:
            failure([peer.address])

    def test_the_official_reader_of_frames_still_has_to_be_replaced(self) -> None:
        """When this fails, the official client has mended its reader, and CarefulReader can go."""
        reader: Any = _Reader(None)
        reader.read(bytes(64))
        left = []
        for _ in range(3):
            reader._read_frame()
            left.append(reader.length)
        assert left == [64, 64, 64]

    def test_authenticates_twice_and_closes_before_the_member_list(self, welcome: bytes) -> None:
        after_first = iter([silent])

        def behave(connection: socket.socket) -> None:
            after_authenticating(welcome, next(after_first, hanging_up))(connection)

        with Peer(behave) as peer:
            began = time.monotonic()
            failed = failure([peer.address], within=3.0)
        assert time.monotonic() - began < 1.0
        assert "closed by the other side" in str(failed)


class TestNames:
    def test_a_name_that_does_not_exist(self) -> None:
        failed = failure(["nowhere.invalid:5701"], within=5.0)
        assert "nowhere.invalid:5701: name not found" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    def test_a_name_that_cannot_be_one(self) -> None:
        failed = failure([f"{'x' * 70}.example:5701"])
        assert "name not found" in str(failed)

    def test_a_lookup_that_never_ends_holds_up_no_attempt_and_piles_up_no_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: ended.wait(30) and [])
        try:
            for _ in range(5):
                failed = failure(["slow.example:5701", "slow.example:5702"], within=0.1)
                assert "slow.example:5701: timed out: the name was not looked up in time" in str(failed)
            lookups = [t for t in threading.enumerate() if t.name == "hazelcast-failover-lookup"]
            assert len(lookups) == 1
        finally:
            ended.set()
        eventually(lambda: not [t for t in threading.enumerate() if t.name == "hazelcast-failover-lookup"])

    def test_a_lookup_that_outlives_one_attempt_serves_the_next(
        self, blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = socket.getaddrinfo

        def slow(host: str, *rest: Any) -> Any:
            if host != "blue.example":
                return real(host, *rest)
            time.sleep(0.3)
            return real("127.0.0.1", *rest)

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        address = blue.addresses[0].replace("127.0.0.1", "blue.example")
        failure([address], within=0.15)
        began = time.monotonic()
        opened([address]).shutdown()
        assert time.monotonic() - began < 1.0

    def test_every_address_of_a_name_is_tried_at_once(
        self, blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = blue.members[0].port
        real = socket.getaddrinfo
        ips = ["127.0.0.77", "127.0.0.1"]

        def several(host: str, *rest: Any) -> Any:
            if host != "blue.example":
                return real(host, *rest)
            return [found for ip in ips for found in real(ip, *rest)]

        with socket.create_server(("127.0.0.77", port)):  # accepts, and stays silent
            monkeypatch.setattr(socket, "getaddrinfo", several)
            began = time.monotonic()
            opened([f"blue.example:{port}"]).shutdown()
            assert time.monotonic() - began < 0.5

    def test_a_host_without_a_port_stands_for_three(self) -> None:
        failed = failure(["127.0.0.99"])
        assert [f"127.0.0.99:{port}: refused" in str(failed) for port in (5701, 5702, 5703)] == [True] * 3


class TestTls:
    # The official client's own.
    @pytest.mark.filterwarnings("ignore:ssl.* deprecated:DeprecationWarning")
    def test_a_member_that_speaks_tls(
        self, blue: LocalCluster, server_context: ssl.SSLContext, ca_file: str
    ) -> None:
        with Peer(to_member(blue), server_context) as peer:
            address = peer.address.replace("127.0.0.1", "localhost")
            client = opened([address], ssl_enabled=True, ssl_cafile=ca_file, ssl_check_hostname=True)
            try:
                numbers: Any = client.get_map("attempts-tls").blocking()
                numbers.set("key", 1)
                assert numbers.get("key") == 1
            finally:
                client.shutdown()

    def test_a_name_that_the_certificate_does_not_have(
        self, server_context: ssl.SSLContext, ca_file: str
    ) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure(
                [peer.address], within=2.0, ssl_enabled=True, ssl_cafile=ca_file, ssl_check_hostname=True
            )
        assert f"{peer.address}: TLS: the certificate is not trusted" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_an_authority_that_is_not_trusted(self, server_context: ssl.SSLContext) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure([peer.address], within=2.0, ssl_enabled=True)
        assert f"{peer.address}: TLS: the certificate is not trusted" in str(failed)

    def test_tls_wanted_by_the_member_only(self, server_context: ssl.SSLContext) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure([peer.address])
        # OpenSSL closes without a word when the first bytes are no TLS; others send an alert first.
        assert f"{peer.address}: closed by the other side" in str(failed)
        assert "TLS" in str(failed)

    def test_tls_wanted_by_a_member_that_says_so(self) -> None:
        with Peer(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: TLS: the member wants it, and ssl_enabled is not set" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_tls_wanted_by_us_only(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, ssl_enabled=True, within=1.0)
        assert "TLS" in str(failed) or "closed by the other side" in str(failed)

    def test_tls_wanted_by_us_from_a_web_server(self) -> None:
        with Peer(answering(HTTP)) as peer:
            failed = failure([peer.address], within=2.0, ssl_enabled=True)
        assert f"{peer.address}: TLS: the handshake failed" in str(failed)

    def test_tls_with_somebody_silent(self) -> None:
        with Peer(silent) as peer:
            failed = failure([peer.address], ssl_enabled=True, within=1.0)
        assert "timed out: connected, but no answer to the TLS handshake" in str(failed)

    def test_settings_that_name_a_missing_file(self) -> None:
        with pytest.raises(AttemptFailed, match="TLS: the settings are of no use") as caught:
            opened([unused_address()], ssl_enabled=True, ssl_cafile="/nowhere/ca.pem")
        assert caught.value.verdict is Verdict.REFUSING


def to_member(cluster: LocalCluster) -> Behaviour:
    """Hand on to a real member what comes, decrypted, and back."""

    def behave(near: socket.socket) -> None:
        near.settimeout(0.002)
        with socket.create_connection(("127.0.0.1", cluster.members[0].port)) as far:
            far.settimeout(0.002)
            while True:
                for source, target in ((near, far), (far, near)):
                    with contextlib.suppress(TimeoutError):
                        data = source.recv(65536)
                        if not data:
                            return
                        target.sendall(data)

    return behave


class TestOneGoodAddress:
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
    def test_a_bad_one_beside_it_costs_nothing(
        self, bad: Callable[[], AbstractContextManager[str]], blue: LocalCluster
    ) -> None:
        with bad() as address, nothing_left_behind():
            began = time.monotonic()
            opened([address, *blue.addresses], within=5.0).shutdown()
            assert time.monotonic() - began < 0.4

    def test_one_that_authenticates_and_sends_no_member_list_is_no_obstacle(
        self, blue: LocalCluster, welcome: bytes
    ) -> None:
        # It answers first, so the client is opened on it first.
        with Peer(after_authenticating(welcome)) as peer, Relay(blue.addresses[0]) as relay:
            relay.delay(0.05)
            began = time.monotonic()
            opened([peer.address, relay.address], within=3.0).shutdown()
            assert time.monotonic() - began < 2.0

    def test_a_frozen_member_in_the_member_list_costs_next_to_nothing(
        self, start_cluster: StartCluster
    ) -> None:
        cluster = start_cluster("blue", members=2)
        cluster.freeze(1)
        began = time.monotonic()
        client = opened(cluster.addresses, within=5.0)
        took = time.monotonic() - began
        try:
            assert len(client.member_list()) == 2
            assert len(client.connected_members()) == 1
            assert took < 0.5
        finally:
            client.abandon()

    def test_all_members_are_connected_before_the_attempt_ends(self, start_cluster: StartCluster) -> None:
        client = opened(start_cluster("blue", members=2).addresses[:1])
        try:
            # Later the official client would connect by itself, but not before a second has passed.
            eventually(lambda: len(client.connected_members()) == 2, 0.5)
        finally:
            client.shutdown()


class TestWhatStaysBehind:
    @pytest.mark.parametrize("times", [50])
    @pytest.mark.parametrize(
        "kind", ["refused", "silent", "dropped", "garbage", "no member list", "hangs up", "no such name"]
    )
    def test_nothing_after_fifty_failed_attempts(self, kind: str, times: int, welcome: bytes) -> None:
        bad: dict[str, AbstractContextManager[str]] = {
            "refused": contextlib.nullcontext(unused_address()),
            "silent": peer_address(silent),
            "dropped": dropping_packets(),
            "garbage": peer_address(answering(NOISE)),
            "no member list": peer_address(after_authenticating(welcome)),
            "hangs up": peer_address(after_authenticating(welcome, hanging_up)),
            "no such name": contextlib.nullcontext("nowhere.invalid:5701"),
        }
        with bad[kind] as address:
            failure([address], within=0.05)
            with nothing_left_behind():
                for _ in range(times):
                    failure([address], within=0.03)

    def test_nothing_after_a_start_that_fails(self, welcome: bytes) -> None:
        with (
            Peer(silent) as quiet,
            Peer(after_authenticating(welcome)) as listless,
            dropping_packets() as deaf,
        ):
            failover = FailoverConfig()
            for label, address in (("a", quiet.address), ("b", listless.address), ("c", deaf)):
                failover.add_cluster(label, [address])
            failover.add_cluster("d", [unused_address(), "nowhere.invalid:5701"])
            client = HazelcastClient(failover, connect_timeout=0.1, try_count=2, retry_delay=0.01)
            peers = threading.active_count()
            with pytest.raises(ClientOfflineException):
                client.start()
            # The system's resolver cannot be interrupted: a lookup ends when it ends.
            ours = {t.name for t in threading.enumerate() if t.name.startswith("hazelcast")}
            assert ours <= {"hazelcast-failover-lookup"}
            assert threading.active_count() <= peers + 4  # the peers' own
            with nothing_left_behind():
                for _ in range(5):
                    with pytest.raises(ClientOfflineException):
                        client.start()


class TestHowOften:
    @pytest.mark.parametrize("standby", ["hot", "cold"])
    def test_try_count_is_the_number_of_attempts_at_each_cluster(self, standby: str) -> None:
        with Peer(hanging_up) as first, Peer(hanging_up) as second:
            failover = two(first.address, second.address)
            client = HazelcastClient(failover, try_count=4, retry_delay=0.02, standby=standby)
            with pytest.raises(ClientOfflineException) as caught:
                client.start()
        assert (first.connections, second.connections) == (4, 4)
        for label in ("blue", "green"):
            assert f"{label} (" in str(caught.value)
        assert "closed by the other side" in str(caught.value)

    def test_hot_dials_all_at_once_and_cold_one_after_the_other(self) -> None:
        spans: dict[str, float] = {}
        for standby in ("hot", "cold"):
            with Peer(silent) as first, Peer(silent) as second:
                failover = two(first.address, second.address)
                options = {"try_count": 1, "connect_timeout": 0.3, "standby": standby}
                with pytest.raises(ClientOfflineException):
                    HazelcastClient(failover, **options).start()
            spans[standby] = second.times[0] - first.times[0]
        assert abs(spans["hot"]) < 0.15
        assert spans["cold"] > 0.25

    def test_the_pauses_double_and_are_jittered(self) -> None:
        pauses: list[list[float]] = []
        for _ in range(4):
            with Peer(hanging_up) as peer:
                config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": [peer.address]})
                client = HazelcastClient(config, try_count=4, retry_delay=0.1)
                with pytest.raises(ClientOfflineException):
                    client.start()
            pauses.append([b - a for a, b in zip(peer.times, peer.times[1:], strict=False)])
        for each in pauses:
            for pause, longest in zip(each, (0.1, 0.2, 0.4), strict=True):
                assert pause < longest + LEEWAY
        assert len({round(pause, 3) for each in pauses for pause in each}) > 4

    @pytest.mark.parametrize("standby", ["hot", "cold"])
    def test_a_lower_cluster_waits_until_the_attempts_at_a_higher_one_are_used_up(
        self, standby: str, green: LocalCluster
    ) -> None:
        with Peer(hanging_up) as first:
            failover = two(first.address, green.addresses[0])
            options = {"try_count": 3, "retry_delay": 0.05, "standby": standby}
            with HazelcastClient(failover, **options) as client:
                if standby == "cold":
                    assert first.connections == 3
                assert first.connections >= 3
                status = client.status()
                assert (status.current_cluster, status.epoch, status.history) == ("green", 1, ())

    def test_a_lower_cluster_waits_for_a_silent_higher_one_for_connect_timeout_only(
        self, green: LocalCluster
    ) -> None:
        with Peer(silent) as first:
            failover = two(first.address, green.addresses[0])
            began = time.monotonic()
            with HazelcastClient(failover, try_count=9, connect_timeout=0.4) as client:
                took = time.monotonic() - began
                assert client.status().current_cluster == "green"
            assert 0.35 < took < 0.4 + LEEWAY

    def test_a_higher_cluster_that_is_there_holds_nothing_up(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        began = time.monotonic()
        with HazelcastClient(two(blue.addresses[0], green.addresses[0]), connect_timeout=3.0) as client:
            assert time.monotonic() - began < 0.5
            assert client.status().current_cluster == "blue"

    def test_the_first_connection_is_no_switch(self, green: LocalCluster) -> None:
        events: list[object] = []
        client = HazelcastClient(two(unused_address(), green.addresses[0]), try_count=1)
        client.subscribe(events.append)
        with client:
            eventually(lambda: events)
        assert [type(event).__name__ for event in events] == ["ClusterConnected"]
        assert (events[0].cluster, events[0].active) == ("green", True)  # type: ignore[attr-defined]
        assert client.status().epoch == 1


def two(first: str, second: str) -> FailoverConfig:
    failover = FailoverConfig()
    failover.add_cluster("blue", [first])
    failover.add_cluster("green", [second])
    return failover


def test_the_system_is_asked_for_ipv4_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # The official client speaks nothing else, so a member reached over IPv6 would be of no use.
    asked: list[object] = []
    real = socket.getaddrinfo

    def watched(*args: Any) -> Any:
        asked.append(args[2])
        return real(*args)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    failure([unused_address().replace("127.0.0.1", "localhost")])
    assert asked == [socket.AF_INET]
