"""Attempts at more addresses than can be tried, and at peers whose answers do not belong in a log as they are."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client._connect import discovery
from flask_hazelcast_failover.client._connect.attempt import AttemptFailed, attempt
from flask_hazelcast_failover.client._connect.attempt_addresses import AttemptAddresses
from flask_hazelcast_failover.client._connect.probe import Probe, ProbeResult, Verdict
from flask_hazelcast_failover.client._identity import ClientIdentity, LockRequests
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.attempts import configured, failure
from tests.support.calls import BackgroundCall
from tests.support.dns import Addresses, LoopbackDns, default_resolver
from tests.support.fake_servers import Peer, answering
from tests.support.waiting import eventually

MANY = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(1500)]
UNLIMITED = 30.0


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each address that is probed."""
    probed: list[str] = []

    class Watched(Probe):
        def __init__(self, address: str, ip: str, **options: Any) -> None:
            super().__init__(address, ip, **options)
            probed.append(self.name)

    monkeypatch.setattr(discovery, "Probe", Watched)
    return probed


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Sequence[str]], None]:
    """Have the system's resolver answer a host name with these IP addresses."""
    real = socket.getaddrinfo
    answers: dict[str, Sequence[str]] = {}

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> Any:
        if host not in answers:
            return real(host, *rest, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in answers[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers.__setitem__


def at(ips: Sequence[str], port: int = 5999) -> list[str]:
    return [f"{ip}:{port}" for ip in ips]


def tried(addresses: AttemptAddresses) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        attempt(addresses, configured(), time.monotonic() + UNLIMITED)
    return caught.value


def refusing(monkeypatch: pytest.MonkeyPatch, why: str = "no") -> None:
    monkeypatch.setattr(Probe, "_probe", lambda _: ProbeResult(Verdict.REFUSING, why))


class TestProbes:
    def test_of_1500_addresses_64_are_probed_and_others_next_time(self, probed: list[str]) -> None:
        message = str(failure(at(MANY), UNLIMITED))
        first = set(probed)
        assert len(probed) == len(first) == 64
        assert message.startswith("64 of 1,500 addresses were tried: 127.1.")
        assert message.endswith("; and 54 more") and message.count(": refused") == 10
        probed.clear()
        failure(at(MANY), UNLIMITED)
        assert len(probed) == 64 and len(first & set(probed)) < 32

    def test_of_a_name_with_1500_addresses_64_are_probed(
        self, probed: list[str], look_up: Callable[..., None]
    ) -> None:
        look_up("many.example", MANY)
        message = str(failure(["many.example:5999"], UNLIMITED))
        first = set(probed)
        assert len(probed) == len(first) == 64
        assert message.startswith("64 of 1,500 addresses were tried: ")
        assert message.endswith("; and 54 more") and len(message) <= 2048
        probed.clear()
        failure(["many.example:5999"], UNLIMITED)
        assert len(probed) == 64 and len(first & set(probed)) < 32

    def test_names_addresses_and_known_members_share_the_limit(
        self, probed: list[str], look_up: Callable[..., None]
    ) -> None:
        names = ["one.example", "two.example", "three.example"]
        for name in names:
            look_up(name, MANY)
        known = KnownCluster(uuid4(), frozenset(at(MANY[:10], 5998)), ClientIdentity(uuid4(), LockRequests()))
        tried(AttemptAddresses.of([*at(names), *at(MANY[:20], 5997)], known))
        assert len(probed) == 64
        shares = [sum(name in one for one in probed) for name in names]
        assert sum(shares) == 34 and min(shares) >= 11
        assert sum(":5997" in one for one in probed) == 20 and sum(":5998" in one for one in probed) == 10

    def test_every_name_among_64_is_tried(self, probed: list[str], look_up: Callable[..., None]) -> None:
        names = [f"n{number}.example" for number in range(64)]
        for name in names:
            look_up(name, MANY)
        failure(at(names), UNLIMITED)
        assert len(probed) == 64
        assert len({name.partition(":")[0] for name in probed}) == 64

    def test_a_name_that_is_not_found_leaves_its_share(
        self, probed: list[str], look_up: Callable[..., None]
    ) -> None:
        look_up("gone.example", ())
        look_up("many.example", MANY)
        failure(at(["gone.example", "many.example"]), UNLIMITED)
        assert 32 <= len(probed) <= 64

    def test_threads_of_an_attempt_are_bounded(self, look_up: Callable[..., None]) -> None:
        look_up("many.example", MANY)
        most = threading.active_count()
        ended = threading.Event()

        def watch() -> None:
            nonlocal most
            while not ended.wait(0.001):
                most = max(most, threading.active_count())

        watcher = threading.Thread(target=watch)
        before = threading.active_count()
        watcher.start()
        failure([*at(MANY), "many.example:5999"], UNLIMITED)
        ended.set()
        watcher.join()
        assert most - before <= 64 + 64 + 5


class TestVerdict:
    def test_all_refuse(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusing(monkeypatch)
        assert failure(at(MANY[:64]), UNLIMITED).verdict is Verdict.REFUSING

    def test_all_that_were_probed_refuse_but_not_all_were(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refusing(monkeypatch)
        assert failure(at(MANY[:65]), UNLIMITED).verdict is Verdict.ABSENT

    def test_all_addresses_of_a_name_that_were_probed_refuse(
        self, monkeypatch: pytest.MonkeyPatch, look_up: Callable[..., None]
    ) -> None:
        refusing(monkeypatch)
        look_up("many.example", MANY)
        look_up("few.example", MANY[:3])
        assert failure(["many.example:5999"], UNLIMITED).verdict is Verdict.ABSENT
        assert failure(["few.example:5999"], UNLIMITED).verdict is Verdict.REFUSING


class TestMessages:
    def test_refusals_are_named_before_those_that_are_absent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def probe(probe: Probe) -> ProbeResult:
            wrong = probe.address.startswith("127.1.0.50:")
            return ProbeResult(*((Verdict.REFUSING, "wrong name") if wrong else (Verdict.ABSENT, "refused")))

        monkeypatch.setattr(Probe, "_probe", probe)
        message = str(failure(at(MANY[:60]), UNLIMITED))
        assert "127.1.0.50:5999: wrong name" in message and message.endswith("; and 50 more")

    def test_ten_addresses_are_all_named(self) -> None:
        message = str(failure(at(MANY[:10]), UNLIMITED))
        assert message.count(": refused") == 10 and "more" not in message

    @pytest.mark.parametrize("count", [1, 3, 64, 1500])
    def test_an_error_is_one_line_of_2_kib(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        refusing(monkeypatch, "\x1b[31mred\nfake line\u202e" * 500)
        message = str(failure(at(MANY[:count]), UNLIMITED))
        assert message.isprintable() and len(message) <= 2048
        assert message.count("\\x1b[31mred\\nfake line\\u202e") >= min(count, 10)

    def test_what_a_peer_answers_is_escaped(self) -> None:
        with Peer(answering(b"\n\x1b[2J\xe2\x80\xae")) as peer:
            message = str(failure([peer.address], UNLIMITED))
        assert message.isprintable()

    def test_a_resolver_error_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> Any:
            raise socket.gaierror(-2, "no\nsuch\x1b" * 1000)

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        message = str(failure(["nowhere.example:5999"], UNLIMITED))
        assert message.isprintable() and len(message) <= 2048

    def test_errors_of_many_addresses_are_short_everywhere(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusing(monkeypatch, "\x1b[31m" * 900)
        clusters = FailoverConfig()
        for label in ("blue", "green", "red"):
            clusters.add_cluster(label, at(MANY), known_members=False)
        client = HazelcastClient(clusters, try_count=1)
        with pytest.raises(ClientOfflineException) as caught:
            client.start()
        assert len(client.status().clusters[0].addresses) == 1500
        client.shutdown()
        message = str(caught.value)
        assert message.isprintable() and len(message) <= 2048
        assert [label in message for label in ("blue (", "green (", "red (")] == [True] * 3
        for record in caplog.records:
            line = record.getMessage()
            assert not record.name.startswith("flask_") or (line.isprintable() and len(line) <= 2200)


def test_a_name_that_moves_to_many_addresses_logs_a_short_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clusters = FailoverConfig()
    with LoopbackDns() as server, default_resolver(server):
        server.reply("many.example.com", Addresses(tuple(MANY[:600]), over_tcp_only=True))
        clusters.add_cname_cluster("blue", "many.example.com", 5999, refresh_interval=0)
        client = HazelcastClient(clusters, try_count=10_000, retry_delay=0.05, connect_timeout=10)
        start = BackgroundCall(client.start)
        try:
            eventually(lambda: len(client.status().clusters[0].addresses) == 600, within=15)
            server.reply("many.example.com", Addresses(tuple(MANY[600:1200]), over_tcp_only=True))
            eventually(lambda: any("moved from" in one.getMessage() for one in caplog.records), within=15)
        finally:
            client.shutdown()
            start.wait()
    [moved] = [one.getMessage() for one in caplog.records if "moved from" in one.getMessage()]
    assert len(re.findall("and 590 more", moved)) == 2 and len(moved) < 600


def test_what_was_left_out_is_counted() -> None:
    addresses = AttemptAddresses.of(at(MANY[:100]))
    assert (len(addresses.named), addresses.left_out) == (64, 36)
    assert replace(addresses, left_out=0).left_out == 0
