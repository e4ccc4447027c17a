"""Losses that health checks detect, and no false alarms."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import pytest
from hazelcast.errors import OperationTimeoutError

from flask_hazelcast_failover import HazelcastClient, OperationOutcomeUnknown
from flask_hazelcast_failover.client.events import ClusterLost, ClusterRecovered, ClusterSwitched
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support import faults
from tests.support.clients import client_on
from tests.support.fair_time import fair_time
from tests.support.faults import WATCHFUL, cluster_of, is_on
from tests.support.operations import reaches
from tests.support.relay import Relay
from tests.support.waiting import eventually

# Three failed checks, one every 0.1 s with a time-out of 0.8 s, and a margin.
DETECTED_WITHIN = 3.0


relayed = partial(faults.relayed, **WATCHFUL)


def connected_to(
    addresses: dict[str, list[str]], **options: Any
) -> AbstractContextManager[tuple[HazelcastClient, faults.Recorder]]:
    return faults.connected_to(addresses, **{**WATCHFUL, **options})


def wait_for_partitions(client: HazelcastClient) -> None:
    """Wait until the client knows the owners of partitions, which members assign at their first use."""
    eventually(lambda: client.partition_service.get_partition_owner(0), 10.0)


@pytest.mark.timing
class TestFrozenClusters:
    def test_a_half_open_connection_is_lost(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green) as (client, recorder, relays):
            wait_for_partitions(client)
            relays[0].freeze()
            eventually(is_on(client, "green"), DETECTED_WITHIN)
            lost = eventually(lambda: recorder.of(ClusterLost))
            assert (lost[0].cluster, lost[0].active, lost[0].reason) == ("blue", True, "health-check")
            assert client.status().history[-1].reason == "health-check"
            error = cluster_of(client, "blue").last_error
            assert error is not None

    def test_failed_checks_count_as_tries(
        self, blue: LocalCluster, green: LocalCluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The switch follows at once, whatever try_count is."""
        with relayed(blue, green, try_count=9, retry_delay=1.0) as (client, recorder, relays):
            wait_for_partitions(client)
            relays[0].freeze()
            eventually(is_on(client, "green"), DETECTED_WITHIN)
            switched = eventually(lambda: recorder.of(ClusterSwitched))
            assert switched[0].reason == "health-check"
        lost, gone = (
            next(record.created for record in caplog.records if record.getMessage().startswith(start))
            for start in ("lost blue", "switched from blue")
        )
        assert gone - lost < 0.3

    def test_an_outage_counts_from_its_first_sign(self, blue: LocalCluster, green: LocalCluster) -> None:
        """The durations of events count from when the first failed check was sent."""
        with relayed(blue, green) as (client, recorder, relays):
            wait_for_partitions(client)
            relays[0].freeze()
            switched = eventually(lambda: recorder.of(ClusterSwitched))
            needed = WATCHFUL["health_check_timeout"] + 2 * 0.1
            assert switched[0].duration > 0.9 * needed
            assert client.status().history[-1].duration == pytest.approx(switched[0].duration, abs=0.001)
            relays[0].resume()
            recovered = eventually(lambda: recorder.of(ClusterRecovered))
            assert recovered[0].downtime > switched[0].duration

    @pytest.mark.timing
    def test_operations_in_flight_move_on_from_a_frozen_cluster(
        self, start_cluster: StartCluster, green: LocalCluster
    ) -> None:
        blue = start_cluster("blue")
        addresses = {"blue": blue.addresses, "green": green.addresses}
        with connected_to(addresses, operation_timeout=30.0) as (client, _):
            numbers: Any = client.get_map("health").blocking()
            numbers.set("key", "of blue")
            wait_for_partitions(client)
            blue.freeze()
            began = fair_time()
            assert numbers.get("key") is None  # of green
            assert fair_time() - began < DETECTED_WITHIN

    def test_a_frozen_standby_is_lost_without_a_switch(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green) as (client, recorder, relays):
            eventually(lambda: cluster_of(client, "green").state == "standby")
            eventually(lambda: cluster_of(client, "green").latency_ms)
            relays[1].freeze()
            lost = eventually(lambda: recorder.of(ClusterLost), DETECTED_WITHIN)
            assert (lost[0].cluster, lost[0].active) == ("green", False)
            eventually(lambda: cluster_of(client, "green").state == "down")
            assert client.status().current_cluster == "blue"
            assert client.status().epoch == 1

    def test_interval_zero_turns_the_checks_off(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green, health_check_interval=0, operation_timeout=0.5) as (
            client,
            recorder,
            relays,
        ):
            wait_for_partitions(client)
            relays[0].freeze()
            with pytest.raises(Exception, match="no answer"):
                client.get_map("health").blocking().get("key")  # type: ignore[arg-type]
            assert client.status().current_cluster == "blue"
            assert not recorder.of(ClusterLost)


class TestSomeFrozenMembers:
    def test_half_of_the_members_lose_a_cluster_and_fewer_impair_it(
        self, start_cluster: StartCluster, green: LocalCluster
    ) -> None:
        blue = start_cluster("blue", members=3)
        with connected_to({"blue": blue.addresses, "green": green.addresses}) as (client, recorder):
            wait_for_partitions(client)
            for index in range(3):  # each is checked, whichever the client connected to first
                blue.freeze(index)
                eventually(lambda: cluster_of(client, "blue").impaired)
                blue.thaw(index)
                eventually(lambda: not cluster_of(client, "blue").impaired)
            blue.kill(0)
            eventually(lambda: cluster_of(client, "blue").members == 2, 10.0)
            eventually(lambda: not cluster_of(client, "blue").impaired)
            assert client.status().current_cluster == "blue"
            assert not recorder.of(ClusterLost)
            blue.freeze(1)
            eventually(is_on(client, "green"))
            eventually(lambda: [event.reason for event in recorder.of(ClusterLost)] == ["health-check"])

    def test_other_members_answer_while_one_of_three_is_frozen(self, start_cluster: StartCluster) -> None:
        three = start_cluster("three", members=3)
        with client_on(three) as patient:
            patient.get_map("health-frozen").blocking().put_all({number: number for number in range(200)})
        with connected_to({"three": three.addresses}, operation_timeout=2.0) as (client, recorder):
            wait_for_partitions(client)
            eventually(lambda: reaches(client, 3))
            numbers: Any = client.get_map("health-frozen")
            frozen = three.members[2]
            (uuid,) = [
                member.uuid
                for member in client.cluster_service.get_members()
                if member.address.port == frozen.port
            ]
            partitions = client.partition_service

            def is_frozen(key: object) -> bool:
                return partitions.get_partition_owner(partitions.get_partition_id(key)) == uuid

            there = [number for number in range(200) if is_frozen(number)]
            queue = next(name for name in map(str, range(200)) if is_frozen(name))
            three.freeze(2)
            waiting = numbers.get(there[0])
            with ThreadPoolExecutor(8) as threads:
                others = [number for number in range(200) if number not in there]
                assert list(threads.map(numbers.blocking().get, others)) == others
            with pytest.raises(OperationTimeoutError):
                waiting.result()
            items: Any = client.get_queue(queue)
            with pytest.raises(OperationOutcomeUnknown):
                items.offer(1).result()
            assert client.status().epoch == 1 and cluster_of(client, "three").impaired
            three.thaw(2)
            eventually(lambda: not cluster_of(client, "three").impaired)
            assert numbers.get_all(there).result() == {number: number for number in there}
            assert not recorder.of(ClusterLost)

    def test_lite_members_are_not_checked(self, start_cluster: StartCluster) -> None:
        """No check creates a structure."""
        blue = start_cluster("blue", lite_members=1)
        with connected_to({"blue": blue.addresses}, health_check_timeout=2.0) as (client, recorder):
            wait_for_partitions(client)
            assert cluster_of(client, "blue").members == 2
            # It owns no partition, so no check is sent to it: frozen it is no failure.
            blue.freeze(1)
            wait_for_checks(client)
            assert not cluster_of(client, "blue").impaired
            assert not recorder.of(ClusterLost)
            blue.thaw(1)
            assert client.get_distributed_objects() == []

    def test_a_client_of_one_connection_needs_none_to_lite_members(self, start_cluster: StartCluster) -> None:
        blue = start_cluster("blue", lite_members=1)
        addresses = {"blue": blue.addresses[:1]}
        options: Any = {"health_check_timeout": 2.0, "client_options": {"smart_routing": False}}
        with connected_to(addresses, **options) as (client, recorder):
            wait_for_partitions(client)
            assert cluster_of(client, "blue").members == 2
            wait_for_checks(client)
            assert not cluster_of(client, "blue").impaired
            assert not recorder.of(ClusterLost)

    def test_the_number_of_members_is_shown_without_checks(self, start_cluster: StartCluster) -> None:
        blue = start_cluster("blue")
        with connected_to({"blue": blue.addresses}, health_check_interval=0) as (client, _):
            assert cluster_of(client, "blue").members == 1
            blue.add_member()
            eventually(lambda: cluster_of(client, "blue").members == 2, 10.0)


def wait_for_checks(client: HazelcastClient) -> None:
    """Wait for as many rounds as a loss would take."""
    seen = set()

    def enough() -> bool:
        seen.add(client.status().clusters[0].latency_ms)
        return len(seen) > 12

    eventually(enough, 10.0)


class TestNoFalseAlarms:
    @pytest.mark.timing
    def test_a_pause_shorter_than_the_limit_is_no_loss(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green, health_check_failures=8) as (client, recorder, relays):
            for _ in range(2):
                relays[0].freeze()
                time.sleep(0.9)  # longer than a check with its time-out, shorter than eight
                relays[0].resume()
                wait_for_checks(client)
            assert not recorder.of(ClusterLost)
            assert client.status().epoch == 1

    @pytest.mark.timing
    def test_a_stopped_process_loses_no_cluster(self, blue: LocalCluster, green: LocalCluster) -> None:
        # With this delay a check and an operation always are in flight.
        with Relay(blue.addresses[0]) as near, Relay(green.addresses[0]) as far:
            near.delay(0.1)
            far.delay(0.1)
            self._pause(near, far)

    def _pause(self, near: Relay, far: Relay) -> None:
        with paused_script(near.address, far.address) as process:
            for pause in (1.5, 0.8):
                os.kill(process.pid, signal.SIGSTOP)
                time.sleep(pause)
                os.kill(process.pid, signal.SIGCONT)
                assert report(process) == "blue 1 0 0", "on blue, in epoch 1, nothing lost, no call failed"

    @pytest.mark.parametrize(("frozen", "needed"), [((0,), 5), ((0, 1), 10)])
    def test_two_clusters_that_fail_at_once_need_twice_the_failures(
        self,
        blue: LocalCluster,
        green: LocalCluster,
        frozen: tuple[int, ...],
        needed: int,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with relayed(blue, green, health_check_failures=5) as (client, recorder, relays):
            eventually(lambda: all(c.latency_ms for c in client.status().clusters))
            for index in frozen:
                relays[index].freeze()
            eventually(lambda: recorder.of(ClusterLost))
        lost = next(
            message for record in caplog.records if (message := record.getMessage()).startswith("lost ")
        )
        assert lost.endswith(f": 1 of 1 members failed {needed} health checks")

    def test_all_clusters_frozen_at_once_are_lost(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green) as (client, _, relays):
            eventually(lambda: all(c.latency_ms for c in client.status().clusters))
            for relay in relays:
                relay.freeze()
            eventually(lambda: client.status().state == "offline", 5.0)
            for relay in relays:
                relay.resume()
            eventually(is_on(client, "blue"), 3.0)


SCRIPT = """
import sys, threading
from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import ClusterLost

failover = FailoverConfig()
failover.add_cluster("blue", [sys.argv[1]])
failover.add_cluster("green", [sys.argv[2]])
client = HazelcastClient(
    failover, health_check_interval=0.1, health_check_timeout=0.6, health_check_failures=1, operation_timeout=0.6
)
lost, failed = [], []
client.subscribe(lambda event: lost.append(event) if isinstance(event, ClusterLost) else None)
client.start()
numbers = client.get_map("health-paused").blocking()

def call():
    while True:
        try:
            numbers.get(1)
        except Exception as error:
            failed.append(error)

threading.Thread(target=call, daemon=True).start()
print("ready", flush=True)
for _ in sys.stdin:
    threading.Event().wait(0.5)  # the time in which a false alarm would be raised
    status = client.status()
    print(status.current_cluster, status.epoch, len(lost), len(failed), flush=True)
"""


@contextmanager
def paused_script(blue: str, green: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), blue, green]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def report(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.timing
def test_the_latency_is_shown(blue: LocalCluster) -> None:
    with Relay(blue.addresses[0]) as relay, connected_to({"blue": [relay.address]}) as (client, _):
        eventually(lambda: cluster_of(client, "blue").latency_ms)
        relay.delay(0.05)
        eventually(lambda: 90 < (cluster_of(client, "blue").latency_ms or 0) < 190)
