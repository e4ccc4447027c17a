"""Failback by itself: after a time without a break, when the ready check agrees, and ever later after relapses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.client._runtime import ready_checks
from flask_hazelcast_failover.client.events import ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.faults import Load, cluster_of, relayed
from tests.support.relay import Relay
from tests.support.waiting import eventually

AFTER = 0.4
AUTO: dict[str, Any] = {"failback": "auto", "failback_after": AFTER}


def is_on(client: HazelcastClient, label: str) -> Callable[[], bool]:
    return lambda: client.status().current_cluster == label


def lose(client: HazelcastClient, relay: Relay) -> None:
    """Take blue away until the client is on green."""
    relay.refuse()
    eventually(is_on(client, "green"))


def seconds_on_standby(client: HazelcastClient) -> float:
    """How long blue stands by until the client is back on it."""
    eventually(lambda: cluster_of(client, "blue").state == "standby")
    began = time.monotonic()
    eventually(is_on(client, "blue"), 10.0)
    return time.monotonic() - began


@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_a_primary_that_stays_healthy_is_returned_to(
    standby: str, blue: LocalCluster, green: LocalCluster
) -> None:
    with relayed(blue, green, standby=standby, **AUTO) as (client, _, relays):
        lose(client, relays[0])
        with Load(client, "coming-back", threads=8) as load:
            relays[0].resume()
            assert AFTER - 0.1 < seconds_on_standby(client) < AFTER + 2.0
            eventually(is_on(client, "blue"))
        assert load.errors == []
        last = client.status().history[-1]
        assert (last.previous, last.current, last.reason) == ("green", "blue", "failback")


def test_by_default_nobody_returns_unasked(blue: LocalCluster, green: LocalCluster) -> None:
    with relayed(blue, green, failback_after=0.1) as (client, told, relays):
        lose(client, relays[0])
        relays[0].resume()
        eventually(lambda: cluster_of(client, "blue").state == "standby")
        time.sleep(0.5)  # the time in which an automatic failback would come
        assert client.status().current_cluster == "green"
        eventually(lambda: len(told.of(ClusterSwitched)) == 1)


def test_every_relapse_doubles_the_wait(blue: LocalCluster, green: LocalCluster) -> None:
    with relayed(blue, green, **AUTO) as (client, _, relays):
        waits = []
        for _ in range(3):
            lose(client, relays[0])
            relays[0].resume()
            waits.append(seconds_on_standby(client))
        first, second, third = waits
        assert AFTER - 0.1 < first < 2 * AFTER - 0.1
        assert 2 * AFTER - 0.1 < second < 4 * AFTER - 0.1
        assert third > 4 * AFTER - 0.1


def test_a_failed_check_begins_the_wait_anew(blue: LocalCluster, green: LocalCluster) -> None:
    options = {**AUTO, "failback_after": 1.0, "health_check_timeout": 0.2, "health_check_failures": 50}
    with relayed(blue, green, **options) as (client, told, relays):
        lose(client, relays[0])
        relays[0].resume()
        eventually(lambda: cluster_of(client, "blue").state == "standby")
        began = time.monotonic()
        time.sleep(0.5)  # half of the wait
        relays[0].freeze()
        time.sleep(0.5)  # long enough for some checks to fail
        relays[0].resume()
        eventually(lambda: len(told.of(ClusterSwitched)) == 2, 10.0)
        assert time.monotonic() - began > 1.7


class TestTheReadyCheck:
    def test_it_gets_the_official_client_of_the_cluster_to_return_to_and_decides(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        asked: list[Any] = []
        answer = threading.Event()

        def ready(official: Any) -> bool:
            asked.append(official.get_map("coming-back-ready").blocking().get("loaded"))
            return answer.is_set()

        options = {**AUTO, "failback_after": 0.1, "ready_check": ready}
        with relayed(blue, green, **options) as (client, told, relays):
            loaded: Any = client.get_map("coming-back-ready").blocking()
            loaded.set("loaded", "blue")
            lose(client, relays[0])
            loaded.set("loaded", "green")
            relays[0].resume()
            eventually(lambda: len(asked) >= 2, 5.0)
            assert client.status().current_cluster == "green"
            answer.set()
            eventually(is_on(client, "blue"), 3.0)
            assert set(asked) == {"blue"}
            eventually(lambda: len(told.of(ClusterSwitched)) == 2)

    def test_one_that_raises_says_no(
        self, blue: LocalCluster, green: LocalCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        asked: list[int] = []

        def ready(_: Any) -> bool:
            asked.append(1)
            if len(asked) < 3:
                raise RuntimeError("not yet")
            return True

        options = {**AUTO, "failback_after": 0.1, "ready_check": ready}
        with relayed(blue, green, **options) as (client, _, relays):
            lose(client, relays[0])
            relays[0].resume()
            eventually(is_on(client, "blue"), 6.0)
            assert len(asked) == 3
        assert "the ready check of blue raised" in caplog.text

    def test_one_that_never_ends_delays_nothing_and_is_asked_anew_after_the_next_loss(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        asked: list[int] = []
        ended = threading.Event()

        def ready(_: Any) -> bool:
            asked.append(1)
            if len(asked) == 1:
                ended.wait(30)
            return True

        options = {**AUTO, "failback_after": 0.1, "ready_check": ready}
        try:
            with relayed(blue, green, **options) as (client, _, relays):
                lose(client, relays[0])
                relays[0].resume()
                eventually(lambda: asked)
                client.get_map("coming-back").blocking().size()
                relays[0].refuse()
                eventually(lambda: cluster_of(client, "blue").state == "down")
                relays[0].resume()
                eventually(is_on(client, "blue"), 4.0)
        finally:
            ended.set()

    def test_one_that_does_not_return_is_a_no_and_is_asked_again(
        self,
        blue: LocalCluster,
        green: LocalCluster,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(ready_checks, "_TIMEOUT", 0.3)
        asked: list[int] = []
        ended = threading.Event()

        def ready(_: Any) -> bool:
            asked.append(1)
            if len(asked) == 1:
                ended.wait(30)
            return True

        options = {**AUTO, "failback_after": 0.1, "ready_check": ready}
        try:
            with relayed(blue, green, **options) as (client, _, relays):
                lose(client, relays[0])
                relays[0].resume()
                eventually(is_on(client, "blue"))
                assert len(asked) == 2
        finally:
            ended.set()
        assert "the ready check of blue has not answered within" in caplog.text

    def test_one_that_never_returns_piles_up_no_threads_and_counts_when_it_does(
        self, blue: LocalCluster, green: LocalCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ready_checks, "_TIMEOUT", 0.1)
        ended = threading.Event()
        asked: list[int] = []

        def ready(_: Any) -> bool:
            asked.append(1)
            return ended.wait(30)

        options = {**AUTO, "failback_after": 0.1, "ready_check": ready, "health_check_interval": 0.2}
        with relayed(blue, green, **options) as (client, _, relays):
            lose(client, relays[0])
            relays[0].resume()
            eventually(lambda: len(asked) == 3, 10.0)
            time.sleep(2.5)  # it would be asked twice more
            assert len(asked) == 3 and client.status().current_cluster == "green"
            ended.set()
            eventually(is_on(client, "blue"))

    def test_it_is_asked_on_failback_only(self, blue: LocalCluster, green: LocalCluster) -> None:
        asked: list[object] = []
        options = {**AUTO, "failback_after": 60.0, "ready_check": asked.append}
        with relayed(blue, green, **options) as (client, _, relays):
            lose(client, relays[0])
            relays[0].resume()
            eventually(lambda: cluster_of(client, "blue").state == "standby")
            client.reset()
            assert client.status().current_cluster == "blue"
            assert asked == []


def test_a_move_on_purpose_suspends_it_until_reset(blue: LocalCluster, green: LocalCluster) -> None:
    with relayed(blue, green, **{**AUTO, "failback_after": 0.1}) as (client, told, relays):
        eventually(lambda: cluster_of(client, "green").state == "standby")
        client.switch_to("green")
        time.sleep(0.6)  # the time in which a failback would come
        assert client.status().current_cluster == "green"
        client.reset()
        lose(client, relays[0])
        relays[0].resume()
        eventually(is_on(client, "blue"), 3.0)
        reasons = ["manual", "manual", "connection-lost", "failback"]
        eventually(lambda: [event.reason for event in told.of(ClusterSwitched)] == reasons)


def test_it_ends_where_a_fit_cluster_of_the_highest_priority_is(
    blue: LocalCluster, green: LocalCluster
) -> None:
    with relayed(blue, green, **{**AUTO, "failback_after": 0.1}) as (client, _, relays):
        for relay in relays:
            relay.refuse()
        eventually(lambda: client.status().state == "offline")
        relays[1].resume()
        eventually(is_on(client, "green"), 2.0)
        relays[0].resume()
        eventually(is_on(client, "blue"), 3.0)
