"""A cluster that is busy, slow or answers with errors is not lost; one that does not answer is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client.events import ClusterLost
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.fair_time import fair_time
from tests.support.faults import Recorder, cluster_of
from tests.support.protocol_relay import CHECK, PING, ProtocolRelay, Rule, answering_error, dropping
from tests.support.relay import Relay
from tests.support.waiting import eventually

MIB = 1 << 20
JAVA_ERROR = "java.lang.OutOfMemoryError"
# A cluster that does not answer is lost after 1.4 s.
WATCHFUL: dict[str, Any] = {
    "try_count": 1,
    "health_check_interval": 0.2,
    "health_check_timeout": 0.8,
    "health_check_failures": 3,
    "operation_timeout": 30.0,
}


@contextmanager
def connected(blue: str, green: LocalCluster, **options: Any) -> Iterator[tuple[Any, Recorder]]:
    """Give a client with one connection to each cluster."""
    failover = FailoverConfig()
    failover.add_cluster("blue", [blue], smart_routing=False, known_members=False)
    failover.add_cluster("green", green.addresses)
    client = HazelcastClient(failover, **{**WATCHFUL, **options})
    recorder = Recorder(client)
    with client:
        eventually(lambda: cluster_of(client, "blue").latency_ms)
        yield client, recorder


@contextmanager
def behind_relay(
    blue: LocalCluster, green: LocalCluster, **options: Any
) -> Iterator[tuple[Any, Recorder, Relay]]:
    with Relay(blue.addresses[0]) as relay, connected(relay.address, green, **options) as (client, recorder):
        yield client, recorder, relay


def stays(client: Any, recorder: Recorder) -> bool:
    return not recorder.of(ClusterLost) and client.status().epoch == 1


class TestBusyConnections:
    def test_a_slow_download(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A large value that takes three seconds to download causes no loss."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("busy-download").blocking()
            values.set("k", bytearray(12 * MIB))
            relay.limit(down=4 * MIB)
            assert len(values.get("k")) == 12 * MIB
            assert stays(client, recorder)
            assert not cluster_of(client, "blue").impaired
            values.delete("k")

    def test_downloads_by_several_threads(self, blue: LocalCluster, green: LocalCluster) -> None:
        """Large answers that follow each other cause no loss, though checks wait behind each."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("busy-downloads").blocking()
            values.set("k", bytearray(4 * MIB))
            relay.limit(down=4 * MIB)
            reading = [BackgroundCall(lambda: [values.get("k") for _ in range(2)]) for _ in range(2)]
            for one in reading:
                assert [len(value) for value in one.wait(60).result] == [4 * MIB] * 2
            assert stays(client, recorder)
            values.delete("k")

    def test_a_slow_upload(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A large value that takes three seconds to upload causes no loss."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("busy-upload").blocking()
            relay.limit(up=4 * MIB)
            values.set("k", bytearray(12 * MIB))
            assert stays(client, recorder)
            relay.resume()
            assert len(values.get("k")) == 12 * MIB
            values.delete("k")

    def test_a_flood_of_events(self, blue: LocalCluster, green: LocalCluster) -> None:
        """Events that are faster than the link and the listener cause no loss."""
        with (
            behind_relay(blue, green) as (client, recorder, relay),
            connected(blue.addresses[0], green) as (other, _),
        ):
            client.get_map("busy-flood").blocking().add_entry_listener(
                include_value=True, updated_func=lambda _: time.sleep(0.05)
            )
            relay.limit(down=2 * MIB)
            source = other.get_map("busy-flood").blocking()
            for turn in range(300):  # 9 MB of events: 4.5 s of the link
                source.set(turn % 3, bytearray(30_000))
            assert client.get_map("busy-flood").blocking().size() == 3  # waits behind the events
            assert stays(client, recorder)

    def test_an_answer_that_takes_long_to_decode(self, blue: LocalCluster, green: LocalCluster) -> None:
        """Time in which the client's own reactor is busy does not count as a failed check."""
        with connected(blue.addresses[0], green, health_check_timeout=0.2) as (client, recorder):
            numbers = client.get_map("busy-decode")
            numbers.put_all({number: number for number in range(10)}).result()
            # Such as a slow deserializer or callback.
            client._runtime.route.link.client._reactor.add_timer(0.0, lambda: time.sleep(2.0))
            assert numbers.get(1).result() == 1
            assert stays(client, recorder)


class TestDeadClusters:
    @pytest.mark.timing
    def test_frozen_during_a_download(self, blue: LocalCluster, green: LocalCluster) -> None:
        """Bytes received before the freeze do not delay the loss."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("dead-download").blocking()
            values.set("k", bytearray(12 * MIB))
            relay.limit(down=4 * MIB)
            reading = BackgroundCall(lambda: values.get("k"))
            connection = next(
                iter(client._runtime.route.link.client._connection_manager.active_connections.values())
            )
            seen = connection.received
            eventually(lambda: connection.received > seen + 4 * MIB)
            relay.freeze()
            began = fair_time()
            assert reading.wait(10).result is None  # of green
            assert fair_time() - began < 3.0
            eventually(lambda: [event.reason for event in recorder.of(ClusterLost)] == ["health-check"])
            relay.resume()
            with connected(blue.addresses[0], green) as (cleaner, _):
                cleaner.get_map("dead-download").blocking().delete("k")

    @pytest.mark.timing
    def test_frozen_with_a_full_buffer(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A peer that accepts no more bytes is lost, although the checks are never sent."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("dead-upload")
            relay.freeze()
            writing = [values.set(number, bytearray(8 * MIB)) for number in range(3)]
            eventually(lambda: client.status().current_cluster == "green", 3.0)
            eventually(lambda: [event.reason for event in recorder.of(ClusterLost)] == ["health-check"])
            for one in writing:
                one.result()
            client.get_map("dead-upload").blocking().clear()

    def test_an_answer_at_a_trickle(self, blue: LocalCluster, green: LocalCluster) -> None:
        """An answer at a thousand bytes a second does not prevent the loss."""
        with behind_relay(blue, green) as (client, recorder, relay):
            values = client.get_map("dead-trickle").blocking()
            values.set("k", bytearray(4 * MIB))
            relay.limit(down=1000)
            assert values.get("k") is None  # of green
            eventually(lambda: [event.reason for event in recorder.of(ClusterLost)] == ["health-check"])
            relay.resume()
            with connected(blue.addresses[0], green) as (cleaner, _):
                cleaner.get_map("dead-trickle").blocking().delete("k")

    def test_members_behind_one_connection(self, start_cluster: StartCluster, green: LocalCluster) -> None:
        """Traffic with the connected member does not hide that others are frozen."""
        blue = start_cluster("blue", members=3)
        with connected(blue.addresses[0], green) as (client, recorder):
            local = [
                f"k{number}" for number in range(200) if owner_port(client, f"k{number}") == port(blue, 0)
            ]
            stopped = threading.Event()
            values = client.get_map("dead-gateway").blocking()

            def load() -> None:
                while not stopped.is_set() and not recorder.of(ClusterLost):
                    values.set(local[0], bytearray(50_000))

            blue.freeze(1)
            loading = BackgroundCall(load)
            eventually(lambda: cluster_of(client, "blue").impaired, 5.0)
            assert stays(client, recorder)
            blue.freeze(2)
            eventually(lambda: recorder.of(ClusterLost), 5.0)
            stopped.set()
            loading.wait()
            blue.thaw()


def port(cluster: LocalCluster, index: int) -> int:
    return cluster.members[index].port


def owner_port(client: Any, key: str) -> int:
    partitions, members = client.partition_service, client.cluster_service.get_members()
    client.get_map("dead-gateway").blocking().get(key)
    owner = eventually(lambda: partitions.get_partition_owner(partitions.get_partition_id(key)))
    return int(next(member.address.port for member in members if member.uuid == owner))


class TestAnswers:
    def test_split_brain_protection(self, start_cluster: StartCluster, green: LocalCluster) -> None:
        """Members that refuse protected structures are not lost: other structures work."""
        bound = {"default": {"split-brain-protection-ref": "two"}}
        names = ("map", "executor-service", "multimap", "ringbuffer", "set", "list", "replicatedmap")
        config: dict[str, Any] = dict.fromkeys(names, bound)
        config["split-brain-protection"] = {"two": {"enabled": True, "minimum-cluster-size": 2}}
        blue = start_cluster("blue", members=2, config=config)
        with connected(blue.addresses[0], green) as (client, recorder):
            client.get_map("protected").blocking().set("k", 1)
            blue.kill(1)
            eventually(lambda: cluster_of(client, "blue").members == 1, 10.0)
            with pytest.raises(Exception, match="SplitBrainProtection"):
                client.get_map("protected").blocking().set("k", 1)
            wait_for_rounds(client, 8)
            assert client.get_queue("unprotected").blocking().offer(1)
            assert stays(client, recorder)
            assert not cluster_of(client, "blue").impaired

    def test_an_error_is_an_answer(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A member that answers each check with an error that can be retried is healthy."""
        with ProtocolRelay(blue.addresses[0]) as relay, connected(relay.address, green) as (client, recorder):
            sent = []

            def refuse(type_: int, correlation: bytes) -> bytes | None:
                sent.append(type_)
                return answering_error(CHECK, 62, "com.hazelcast.spi.exception.WrongTargetException")(
                    type_, correlation
                )

            relay.rule = refuse
            eventually(lambda: sent.count(CHECK) >= 8)
            assert stays(client, recorder)
            assert not cluster_of(client, "blue").impaired
            assert abs(sent.count(CHECK) - sent.count(PING)) <= 1, "a check was sent again"

    @pytest.mark.parametrize(
        ("rule", "error"),
        [(dropping(CHECK), ""), (answering_error(CHECK, 72, JAVA_ERROR), f" ({JAVA_ERROR})")],
        ids=["no answer", "out of memory"],
    )
    @pytest.mark.timing
    def test_pings_only(
        self,
        rule: Rule,
        error: str,
        blue: LocalCluster,
        green: LocalCluster,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A member that answers pings only is impaired at once, and lost after six times as many failures."""
        with (
            ProtocolRelay(blue.addresses[0]) as relay,
            connected(relay.address, green, health_check_timeout=0.3) as (client, recorder),
        ):
            relay.rule = rule
            eventually(lambda: cluster_of(client, "blue").impaired, 2.0)
            assert not recorder.of(ClusterLost)
            eventually(lambda: recorder.of(ClusterLost), 15.0)
        lost = next(
            message for record in caplog.records if (message := record.getMessage()).startswith("lost blue")
        )
        assert lost.endswith(f": 1 of 1 members answered pings and failed 18 health checks{error}")

    def test_an_answer_that_the_member_is_not_active(self, blue: LocalCluster, green: LocalCluster) -> None:
        """The error that a member is not active counts as no answer."""
        name = "com.hazelcast.core.HazelcastInstanceNotActiveException"
        with ProtocolRelay(blue.addresses[0]) as relay, connected(relay.address, green) as (_, recorder):
            rules = [answering_error(type_, 19, name) for type_ in (CHECK, PING)]
            relay.rule = lambda *request: rules[0](*request) or rules[1](*request)
            eventually(lambda: recorder.of(ClusterLost), 5.0)
            assert recorder.of(ClusterLost)[0].reason == "health-check"

    @pytest.mark.timing
    def test_no_answer_at_all(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A member that answers neither checks nor pings is lost after three failures."""
        with ProtocolRelay(blue.addresses[0]) as relay, connected(relay.address, green) as (_, recorder):
            relay.rule = dropping(CHECK, PING)
            eventually(lambda: recorder.of(ClusterLost), 3.0)

    @pytest.mark.timing
    def test_a_late_answer(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A member whose answers arrive after the time-out is slow and not lost."""
        with behind_relay(blue, green, health_check_timeout=0.3) as (client, recorder, relay):
            relay.delay(0.25)
            eventually(lambda: (cluster_of(client, "blue").latency_ms or 0) > 450)
            wait_for_rounds(client, 8)
            assert stays(client, recorder)


class TestBeforeASwitch:
    def test_a_target_that_answers_with_errors(self, blue: LocalCluster, green: LocalCluster) -> None:
        """For a switch on purpose an error counts as an answer, too."""
        with ExitStack() as stack:
            relay = stack.enter_context(ProtocolRelay(blue.addresses[0]))
            client, _ = stack.enter_context(connected(relay.address, green))
            client.switch_to("green")
            relay.rule = answering_error(CHECK, 62, "com.hazelcast.spi.exception.WrongTargetException")
            client.switch_to("blue")
            assert client.status().current_cluster == "blue"

    def test_a_target_with_a_busy_connection(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A switch on purpose waits for a busy target."""
        with behind_relay(blue, green, connect_timeout=0.5) as (client, _, relay):
            values = client.get_map("busy-target")
            values.set("k", bytearray(4 * MIB)).result()
            relay.limit(down=2 * MIB)
            reading = values.get("k")
            client.switch_to("green")
            client.switch_to("blue")
            assert client.status().current_cluster == "blue"
            assert len(reading.result()) == 4 * MIB
            values.delete("k").result()


def wait_for_rounds(client: Any, rounds: int) -> None:
    """Wait until so many rounds of checks were answered."""
    seen: set[float | None] = set()

    def enough() -> bool:
        seen.add(cluster_of(client, "blue").latency_ms)
        return len(seen) > rounds

    eventually(enough, 10.0)
