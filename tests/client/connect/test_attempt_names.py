"""Attempts at host names: none blocks on a lookup, and every address of a name is tried."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from flask_hazelcast_failover.client._connect.probe import Verdict
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.attempts import failure, opened
from tests.support.fair_time import fair_time
from tests.support.fake_servers import unused_address
from tests.support.waiting import eventually, takes_less


class TestNames:
    def test_a_missing_name(self) -> None:
        failed = failure(["nowhere.invalid:5701"], within=5.0)
        assert "nowhere.invalid:5701: name not found" in str(failed)
        assert failed.verdict is Verdict.ABSENT

    def test_an_invalid_name(self) -> None:
        failed = failure([f"{'x' * 70}.example:5701"])
        assert "name not found" in str(failed)

    def test_a_lookup_that_never_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It delays no attempt, and later attempts start no further threads."""
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

    @pytest.mark.timing
    def test_a_late_lookup_serves_the_next_attempt(
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
        began = fair_time()
        opened([address]).shutdown()
        assert fair_time() - began < 1.0

    @pytest.mark.timing
    def test_all_addresses_of_a_name_are_tried_at_once(
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
            assert takes_less(0.5, lambda: opened([f"blue.example:{port}"]).shutdown())

    def test_a_host_without_a_port_means_three_ports(self) -> None:
        failed = failure(["127.0.0.99"])
        assert [f"127.0.0.99:{port}: refused" in str(failed) for port in (5701, 5702, 5703)] == [True] * 3


def test_only_ipv4_addresses_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official client does not support IPv6."""
    families: list[object] = []
    real = socket.getaddrinfo

    def watched(*args: Any) -> Any:
        families.append(args[2])
        return real(*args)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    failure([unused_address().replace("127.0.0.1", "localhost")])
    assert families == [socket.AF_INET]
