"""Recovery from an outage: of clusters that are back unchanged, changed, or at a bad moment."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flask_hazelcast_failover import ClientConfig, ClientOfflineException, HazelcastClient
from flask_hazelcast_failover.client.events import (
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
)
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.conftest import StartCluster
from tests.support.fair_time import fair_time
from tests.support.fake_servers import Peer, after_authenticating, hanging_up, record_acceptance, with_status
from tests.support.faults import Load, Recorder, cluster_of, connected_to, failure_times_ms, is_on, relayed
from tests.support.relay import Relay
from tests.support.waiting import eventually


def is_offline(client: HazelcastClient) -> Callable[[], bool]:
    return lambda: client.status().state == "offline"


def is_standby(client: HazelcastClient, label: str) -> Callable[[], bool]:
    return lambda: cluster_of(client, label).state == "standby"


def is_beyond(client: HazelcastClient, epoch: int) -> Callable[[], bool]:
    return lambda: client.status().epoch > epoch


class TestNothingReachable:
    @pytest.mark.timing
    def test_calls_fail_in_milliseconds_until_a_cluster_is_back(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        with relayed(blue, green) as (client, recorder, relays):
            for relay in relays:
                relay.refuse()
            eventually(is_offline(client))
            assert sorted(failure_times_ms(client))[18] < 5.0
            with pytest.raises(ClientOfflineException, match=r"blue \(.*green \("):
                client.get_map("faults").blocking().size()
            # Several rounds of failed attempts are one event.
            before = [cluster_of(client, label).last_error for label in ("blue", "green")]
            assert all(before)
            relays[1].resume()
            began = fair_time()
            eventually(is_on(client, "green"), 2.0)
            client.get_map("faults").blocking().size()
            assert fair_time() - began < 2.0
            exhausted = eventually(lambda: recorder.of(ClustersExhausted))
            assert [set(event.errors) for event in exhausted] == [{"blue", "green"}]
            eventually(lambda: [event.cluster for event in recorder.of(ClusterRecovered)] == ["green"])
            relays[0].resume()
            eventually(lambda: cluster_of(client, "blue").state == "standby", 2.0)
            assert client.status().current_cluster == "green", "failback is manual"

    def test_of_clusters_back_together_the_first_is_used(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        with relayed(blue, green) as (client, _, relays):
            for _ in range(3):
                for relay in relays:
                    relay.refuse()
                eventually(is_offline(client))
                for relay in relays:
                    relay.resume()
                eventually(is_on(client, "blue"))

    @pytest.mark.timing
    def test_a_client_that_was_never_connected_keeps_trying(self, blue: LocalCluster) -> None:
        with Relay(blue.addresses[0]) as relay:
            relay.refuse()
            config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": [relay.address]})
            client = HazelcastClient(config, try_count=1)
            recorder = Recorder(client)
            try:
                with pytest.raises(ClientOfflineException):
                    client.get_map("faults").blocking().size()
                assert client.status().state == "offline"
                relay.resume()
                eventually(is_on(client, "blue"), 2.0)
                eventually(lambda: recorder.names()[-1:] == ["ClusterRecovered"])
                eventually(
                    lambda: recorder.names() == ["ClustersExhausted", "ClusterConnected", "ClusterRecovered"]
                )
                assert client.status().epoch == 1
            finally:
                client.shutdown()

    @pytest.mark.timing
    def test_an_absent_cluster_is_tried_every_half_second(self) -> None:
        with Peer(hanging_up) as peer:
            times = background_attempts(peer, 8)
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(0.2 < pause < 0.5 + 0.3 for pause in pauses), pauses
        assert max(pauses) - min(pauses) > 0.01, "jittered"

    @pytest.mark.timing
    def test_a_cluster_that_refuses_is_tried_with_backoff(self, blue: LocalCluster) -> None:
        welcome = record_acceptance(blue.addresses[0], "blue")
        with Peer(after_authenticating(with_status(welcome, 1))) as peer:
            times = background_attempts(peer, 4)
        first, second, third = (later - earlier for earlier, later in itertools.pairwise(times))
        assert 0.4 < first < 1.3
        assert 0.9 < second < 2.3
        assert 1.9 < third < 4.3

    @pytest.mark.timing
    def test_one_refusing_address_of_several_causes_no_backoff(self, blue: LocalCluster) -> None:
        """The cluster may come back at another address."""
        welcome = record_acceptance(blue.addresses[0], "blue")
        with Peer(after_authenticating(with_status(welcome, 1))) as peer:
            times = background_attempts(peer, 6, f"127.0.0.1:{free_port()}")
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert all(0.2 < pause < 0.5 + 0.3 for pause in pauses), pauses


def background_attempts(peer: Peer, count: int, *further: str) -> list[float]:
    """Return the times at which an offline client tries this peer; the cluster may have further addresses."""
    config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": [peer.address, *further]})
    client = HazelcastClient(config, try_count=1)
    try:
        client.control.connect_soon()
        eventually(lambda: peer.connections >= count, 10.0)
        return peer.times[:count]
    finally:
        client.shutdown()


HERD = """
import sys
from flask_hazelcast_failover import ClientConfig, HazelcastClient

config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": [sys.argv[1]]})
clients = [HazelcastClient(config, try_count=1, health_check_interval=0) for _ in range(int(sys.argv[2]))]
for client in clients:
    client.control.connect_soon()
print("ready", flush=True)
sys.stdin.readline()
import time
deadline = time.monotonic() + 100
while time.monotonic() < deadline and any(client.status().state != "connected" for client in clients):
    time.sleep(0.05)
print(sum(client.status().state == "connected" for client in clients), flush=True)
sys.stdin.readline()
"""


@pytest.mark.timing
@pytest.mark.timeout(240)
def test_200_waiting_clients_do_not_overload_a_returning_member(
    start_cluster: StartCluster,
) -> None:
    processes, clients = 4, 50
    blue = start_cluster("blue", heap=512)  # each connection has 256 KB of buffers there
    with Relay(blue.addresses[0]) as relay:
        relay.refuse()
        herd = [
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(HERD), relay.address, str(clients)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        try:
            for process in herd:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            counted = count_connections(relay)
            relay.resume()
            for process in herd:
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
            connected = [int(process.stdout.readline()) for process in herd if process.stdout]
            assert sum(connected) == processes * clients
            # Each client needs two: a probe and the link. On a busy machine some attempts are repeated.
            seconds = counted()
            assert max(seconds.values()) < 2.5 * processes * clients, seconds
            took = max(seconds) - min(seconds) + 1
            assert sum(seconds.values()) < (3 + took / 3) * processes * clients, seconds
            eventually(lambda: relay.link_count == processes * clients)
        finally:
            for process in herd:
                process.kill()
                process.communicate()


def count_connections(relay: Relay) -> Callable[[], Counter[int]]:
    """Count the connections that a relay accepts, for each second."""
    accepted: Counter[int] = Counter()
    accept = relay._accept

    def counting() -> None:
        accepted[int(time.monotonic())] += 1
        accept()

    relay._accept = counting  # type: ignore[method-assign]
    return lambda: accepted


class TestClustersThatChanged:
    def test_a_new_cluster_id_at_the_same_address_is_a_restart(
        self, pair: tuple[LocalCluster, LocalCluster]
    ) -> None:
        blue, green = pair
        addresses = {"blue": blue.addresses, "green": green.addresses}
        with connected_to(addresses, try_count=3) as (client, recorder):
            numbers: Any = client.get_map("faults").blocking()
            numbers.set("key", "old blue")
            blue.kill()
            eventually(is_on(client, "green"))
            blue.restart()
            eventually(lambda: cluster_of(client, "blue").state == "standby", 5.0)
            assert cluster_of(client, "blue").restarted
            eventually(lambda: [event.cluster for event in recorder.of(ClusterRecovered)] == ["blue"])
            client.reset()
            assert numbers.get("key") is None
            assert not cluster_of(client, "blue").restarted, "a reset acknowledges it"
            assert client.status().epoch == 3

    def test_a_restart_of_the_only_cluster_begins_a_new_epoch(self, start_cluster: StartCluster) -> None:
        blue = start_cluster("blue")
        with connected_to({"blue": blue.addresses}) as (client, recorder):
            numbers: Any = client.get_map("faults").blocking()
            numbers.set("key", 1)
            blue.restart()
            eventually(is_on(client, "blue"), 5.0)
            assert numbers.get("key") is None
            status = client.status()
            assert (status.epoch, status.history) == (2, ())
            assert cluster_of(client, "blue").restarted
            assert not recorder.of(ClusterSwitched)

    def test_another_partition_count_elsewhere_or_at_the_same_address(
        self, start_cluster: StartCluster, green: LocalCluster
    ) -> None:
        small = start_cluster("blue", partition_count=11)
        with Relay(small.addresses[0]) as relay:
            addresses = {"blue": [relay.address], "green": green.addresses}
            with connected_to(addresses) as (client, _):
                numbers: Any = client.get_map("recovery-partitions").blocking()
                for label in ("green", "blue"):
                    client.switch_to(label)
                    write_and_read(numbers)
                relay.refuse()
                eventually(is_on(client, "green"))
                large = start_cluster("blue", partition_count=31)
                relay._target = ("127.0.0.1", large.members[0].port)
                relay.resume()
                eventually(lambda: cluster_of(client, "blue").state == "standby", 3.0)
                client.reset()
                write_and_read(numbers)

    def test_a_rolling_restart_is_no_loss(self, start_cluster: StartCluster) -> None:
        blue = start_cluster("blue", members=2)
        with connected_to({"blue": blue.addresses}, health_check_failures=20) as (client, recorder):
            numbers: Any = client.get_map("recovery-rolling").blocking()
            # The client connects a second later to a member that accepted it slowly.
            eventually(partial(is_connected_to, client, blue.addresses[0], other_than=None))
            for index in range(2):
                address = blue.addresses[index]
                before = member_at(client, address)
                blue.restart(index)
                eventually(partial(is_connected_to, client, address, other_than=before), 10.0)
                write_and_read(numbers)
            assert not recorder.of(ClusterLost)
            assert not cluster_of(client, "blue").restarted
            assert client.status().epoch == 1


def write_and_read(numbers: Any) -> None:
    for number in range(50):
        numbers.set(number, number)
    assert numbers.get_all(set(range(50))) == {number: number for number in range(50)}


def is_connected_to(client: HazelcastClient, address: str, *, other_than: object) -> bool:
    """Whether the client is connected to all members, and a member that is not `other_than` is at this address."""
    official = client.control.connected_clusters()["blue"]
    members = {
        member.uuid: f"{member.address.host}:{member.address.port}" for member in official.member_list()
    }
    return (
        address in members.values()
        and other_than not in members
        and official.connected_members() == set(members)
    )


def member_at(client: HazelcastClient, address: str) -> object:
    """Return the id of the member at an address."""
    official = client.control.connected_clusters()["blue"]
    here = [m.uuid for m in official.member_list() if f"{m.address.host}:{m.address.port}" == address]
    return here[0]


class TestBadMoments:
    def test_a_cluster_that_is_back_during_the_search_is_used(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        # Blue is back before its tries are used up. Green is up all the time.
        with relayed(blue, green, try_count=30, retry_delay=0.1) as (client, recorder, relays):
            relays[0].refuse()
            eventually(lambda: recorder.of(ClusterLost))
            relays[0].resume()
            eventually(is_on(client, "blue"))
            assert not recorder.of(ClusterSwitched)
            assert client.status().epoch == 2

    def test_a_cluster_that_is_back_during_a_switch_does_not_stop_it(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        options = {"standby": "cold", "health_check_interval": 0, "connect_timeout": 5.0}
        with relayed(blue, green, **options) as (client, recorder, relays):
            relays[1].delay(0.1)  # blue is back before green is connected
            relays[0].refuse()
            eventually(lambda: relays[1].link_count)
            relays[0].resume()
            eventually(is_on(client, "green"))
            eventually(lambda: len(recorder.of(ClusterSwitched)) == 1)

    def test_two_losses_in_quick_succession(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green) as (client, recorder, relays):
            with Load(client, "recovery-two-losses", threads=4) as load:
                for turn in range(5):
                    gone, left = relays[turn % 2], relays[(turn + 1) % 2]
                    gone.refuse()
                    eventually(is_on(client, ("green", "blue")[turn % 2]))
                    gone.resume()
                    eventually(is_standby(client, ("blue", "green")[turn % 2]))
                    assert left.link_count
            assert load.errors == []
            eventually(lambda: len(recorder.of(ClusterSwitched)) == 5)

    def test_both_lost_at_once_and_back(self, blue: LocalCluster, green: LocalCluster) -> None:
        with relayed(blue, green) as (client, recorder, relays):
            for _ in range(5):
                for relay in relays:
                    relay.cut()
                eventually(lambda: client.status().state == "connected")
                eventually(lambda: all(c.state in ("active", "standby") for c in client.status().clusters))
            assert not recorder.of(ClustersExhausted)

    def test_20_losses_and_failbacks_fail_no_repeatable_operation(
        self, blue: LocalCluster, green: LocalCluster
    ) -> None:
        """No thread and no connection stays."""
        with relayed(blue, green, try_count=3) as (client, _, relays):
            client.get_map("recovery-flapping").blocking().size()
            before = {thread.name for thread in threading.enumerate()}
            with Load(client, "recovery-flapping", threads=4) as load:
                for _ in range(20):
                    epoch = client.status().epoch
                    relays[0].cut()
                    eventually(is_beyond(client, epoch))
                    client.reset()
            assert load.errors == []
            assert client.status().current_cluster == "blue"

            def is_as_before() -> bool:
                assert {thread.name for thread in threading.enumerate()} <= before
                assert [relay.link_count for relay in relays] == [1, 1]
                return True

            eventually(is_as_before)
