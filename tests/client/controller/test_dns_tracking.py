"""A cluster behind a DNS name: refreshed, kept through failures of DNS, followed when it moves."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from flask_hazelcast_failover import ClientOfflineException, FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import AddressesChanged, ClusterLost, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster, free_port, start_together
from tests.support.calls import BackgroundCall
from tests.support.dns import Addresses, Failure, LoopbackDns, default_resolver
from tests.support.fair_time import fair_time
from tests.support.faults import TOLERANT, Load, Recorder, cluster_of
from tests.support.relay import Relay
from tests.support.waiting import eventually

NAME = "prod.test"
REFRESH = 0.2


class RelayAt(Relay):
    """A relay that listens on an address of our choice."""

    def __init__(self, target: str, host: str, port: int) -> None:
        self._place = host, port
        super().__init__(target)

    def _listen(self) -> None:
        listener = socket.create_server(self._place, backlog=128)
        listener.setblocking(False)
        self._selector.register(listener, 1)
        self._listener = listener


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    """Two clusters of the same name."""
    first, second = LocalCluster("prod"), LocalCluster("prod")
    start_together(first, second)
    with first, second:
        yield first, second


class Place:
    """A DNS server, and three hosts with the same port: two lead to the first cluster, one to the second."""

    FIRST, ALSO_FIRST, SECOND = "127.0.0.2", "127.0.0.4", "127.0.0.3"

    def __init__(self, dns: LoopbackDns, relays: dict[str, Relay], port: int) -> None:
        self.dns = dns
        self.relays = relays
        self.port = port

    def answers(self, count: int) -> None:
        """Wait for so many more answers of DNS."""
        seen = self.dns.queries(NAME)
        eventually(lambda: self.dns.queries(NAME) >= seen + count, 10.0)


@pytest.fixture
def place(twins: tuple[LocalCluster, LocalCluster]) -> Iterator[Place]:
    first, second = (cluster.addresses[0] for cluster in twins)
    port = free_port()
    with (
        LoopbackDns() as dns,
        default_resolver(dns, lifetime=0.5),
        RelayAt(first, Place.FIRST, port) as a,
        RelayAt(first, Place.ALSO_FIRST, port) as b,
        RelayAt(second, Place.SECOND, port) as c,
    ):
        dns.answer(NAME, Place.FIRST, through=("blue.test",))
        yield Place(dns, {Place.FIRST: a, Place.ALSO_FIRST: b, Place.SECOND: c}, port)


@contextmanager
def followed(
    port: int, refresh_interval: float = REFRESH, **options: Any
) -> Iterator[tuple[HazelcastClient, Recorder]]:
    failover = FailoverConfig()
    failover.add_cname_cluster("prod", NAME, port=port, refresh_interval=refresh_interval)
    client = HazelcastClient(failover, **{**TOLERANT, **options})
    told = Recorder(client)
    with client:
        yield client, told


def test_a_name_that_moves_to_another_cluster_is_followed_gracefully(place: Place) -> None:
    with followed(place.port) as (client, told):
        marks: Any = client.get_map("dns-marks").blocking()
        marks.set("where", "first")
        with Load(client, "dns-load", threads=8) as load:
            place.answers(2)
            assert client.status().epoch == 1
            place.dns.answer(NAME, Place.SECOND, through=("green.test",))
            before = place.dns.queries(NAME)
            eventually(lambda: client.status().epoch == 2, 5.0)
            assert place.dns.queries(NAME) >= before + 2, "one answer is not enough"
        assert load.errors == []
        assert marks.get("where") is None
        switch = client.status().history[-1]
        assert (switch.previous, switch.current, switch.reason) == ("prod", "prod", "dns")
        eventually(lambda: [event.reason for event in told.of(ClusterSwitched)] == ["dns"])
        changed = eventually(lambda: told.of(AddressesChanged))[0]
        assert changed.before == (f"{Place.FIRST}:{place.port}",)
        assert changed.after == (f"{Place.SECOND}:{place.port}",)
        assert cluster_of(client, "prod").addresses == changed.after
        assert not told.of(ClusterLost)
        eventually(lambda: place.relays[Place.FIRST].link_count == 0, message="the old connection is closed")
        place.answers(3)
        assert client.status().epoch == 2
        marks.destroy()


def test_a_rotation_within_the_cluster_changes_nothing(place: Place) -> None:
    with followed(place.port) as (client, told):
        connection = client.control.connected_clusters()["prod"]
        for ips in (
            (Place.ALSO_FIRST,),
            (Place.FIRST, Place.ALSO_FIRST),
            (Place.ALSO_FIRST, Place.FIRST),
            (Place.FIRST,),
        ):
            place.dns.answer(NAME, *ips)
            place.answers(3)
        assert client.status().epoch == 1
        assert client.status().history == ()
        assert client.control.connected_clusters()["prod"] is connection
        # Another order is no other answer.
        eventually(lambda: len(told.of(AddressesChanged)) == 3)
        eventually(lambda: sum(relay.link_count for relay in place.relays.values()) <= 2)


def test_an_answer_that_comes_only_now_and_then_is_not_followed(place: Place) -> None:
    with followed(place.port) as (client, _):
        here, there = Addresses((Place.FIRST,)), Addresses((Place.SECOND,))
        # Never twice in a row, not even for a client that misses an answer now and then.
        place.dns.reply(NAME, *(reply for _ in range(4) for reply in (there, here, here, here)))
        place.answers(17)
        assert client.status().epoch == 1


@pytest.mark.timing
@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (Failure.SERVFAIL, "SERVFAIL"),
        (Failure.NXDOMAIN, "NXDOMAIN"),
        (Failure.EMPTY, "empty answer"),
        (Failure.REFUSED, "REFUSED"),
        (Failure.SILENCE, "timed out"),
    ],
)
def test_the_last_known_addresses_outlive_failures_of_dns(
    failure: Failure, why: str, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with followed(place.port) as (client, told), caplog.at_level(logging.WARNING):
        place.dns.reply(NAME, failure)
        eventually(lambda: why in (cluster_of(client, "prod").last_error or ""))
        place.answers(2)
        client.get_map("dns-load").blocking().size()
        assert client.status().epoch == 1
        assert not told.of(AddressesChanged)
        warned = [record for record in caplog.records if record.name == "flask_hazelcast_failover.dns"]
        assert [record.levelname for record in warned] == ["WARNING"]
        # And a lost connection is opened again while DNS is down.
        began = fair_time()
        place.relays[Place.FIRST].cut()
        eventually(lambda: client.status().epoch == 2, 3.0)
        assert fair_time() - began < 2.0
        place.dns.answer(NAME, Place.FIRST)
        eventually(lambda: cluster_of(client, "prod").last_error is None)


@pytest.mark.timing
def test_a_silent_dns_server_leaves_an_attempt_the_time_to_connect(place: Place) -> None:
    with followed(place.port, refresh_interval=60.0, connect_timeout=3.0) as (client, _):
        place.dns.reply(NAME, Failure.SILENCE)
        with default_resolver(place.dns, lifetime=5.0):
            place.relays[Place.FIRST].cut()
            began = fair_time()
            eventually(lambda: client.status().epoch == 2)
            # A third of connect_timeout is for the lookup.
            assert fair_time() - began < 2.4


def test_a_cluster_that_is_lost_is_found_where_its_name_leads_by_then(place: Place) -> None:
    with followed(place.port, refresh_interval=60.0) as (client, _):
        place.dns.answer(NAME, Place.SECOND)
        place.relays[Place.FIRST].refuse()
        eventually(lambda: client.status().epoch == 2)
        assert cluster_of(client, "prod").addresses == (f"{Place.SECOND}:{place.port}",)
        assert cluster_of(client, "prod").restarted


@pytest.mark.timing
@pytest.mark.parametrize("failure", [Failure.NXDOMAIN, Failure.SILENCE])
def test_a_name_that_never_had_an_answer_is_an_error_that_names_it(failure: Failure, place: Place) -> None:
    place.dns.reply(NAME, failure)
    began = fair_time()
    with pytest.raises(ClientOfflineException, match=r"prod \(.*prod\.test"):
        with followed(place.port, try_count=3):
            pass
    assert fair_time() - began < 5.0
    ours = {t.name for t in threading.enumerate() if t.name.startswith("hazelcast")}
    assert ours == set()


def test_a_client_in_use_is_there_once_a_name_has_its_first_answer(place: Place) -> None:
    place.dns.reply(NAME, Failure.NXDOMAIN)
    failover = FailoverConfig()
    failover.add_cname_cluster("prod", NAME, port=place.port, refresh_interval=60.0)
    client: Any = HazelcastClient(failover, **TOLERANT)
    try:
        with pytest.raises(ClientOfflineException, match=r"prod\.test"):
            client.get_map("dns-late").blocking().size()
        place.dns.answer(NAME, Place.FIRST)
        eventually(lambda: client.status().state == "connected")
        assert client.get_map("dns-late").blocking().size() == 0
    finally:
        client.shutdown()


def test_answers_that_are_good_for_ever_keep_the_client_deciding(place: Place) -> None:
    with followed(place.port, refresh_interval=1e300) as (client, _):
        assert BackgroundCall(client.reset).wait(5.0).error is None


def test_a_thousand_refreshes_leave_no_thread_and_no_socket(
    twins: tuple[LocalCluster, LocalCluster],
) -> None:
    with LoopbackDns() as dns, default_resolver(dns):
        dns.answer(NAME, "127.0.0.1")
        port = twins[0].members[0].port
        with followed(port, refresh_interval=0.001, health_check_interval=0) as (client, _):
            eventually(lambda: dns.queries(NAME) > 20)
            process = psutil.Process()
            before = process.num_fds(), threading.active_count()
            eventually(lambda: dns.queries(NAME) > 1020, 30.0)

            def is_as_before() -> bool:
                now = process.num_fds(), threading.active_count()
                # One lookup is always under way: its socket and its threads, here and in the server.
                assert now[0] <= before[0] + 4 and now[1] <= before[1] + 4, (now, before)
                return True

            eventually(is_as_before)
            assert client.status().epoch == 1
