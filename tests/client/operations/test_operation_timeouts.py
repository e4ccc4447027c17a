"""How long operations wait for an answer, for a switch or for items."""

import pickle
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError, OperationTimeoutError

from flask_hazelcast_failover import (
    ClientConfig,
    ClientOfflineException,
    FailoverConfig,
    HazelcastClient,
    OperationOutcomeUnknown,
)
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.fair_time import fair_time
from tests.support.fake_servers import Peer, silent
from tests.support.operations import CALLS, READ, waits_for_answer, warmed
from tests.support.relay import Relay
from tests.support.waiting import eventually, takes_less


@pytest.mark.timing
@pytest.mark.parametrize("first_use", [False, True])
def test_frozen_cluster(first_use: bool, relayed: tuple[Relay, Relay]) -> None:
    with client_at(("blue", relayed[0].address), health_check_interval=0, operation_timeout=0.4) as client:
        if not first_use:
            warmed(client)
        relayed[0].freeze()
        began = fair_time()
        outcomes = {name: BackgroundCall(partial(call, client)) for name, call in CALLS.items()}
        for name, outcome in outcomes.items():
            outcome.wait(3)
            expected = OperationOutcomeUnknown if name == "ONCE" else OperationTimeoutError
            assert type(outcome.error) is expected, name
            assert "blue" in str(outcome.error.args[0])
        assert fair_time() - began < 1.5
        assert client.status().current_cluster == "blue"


def test_futures_of_a_frozen_cluster(relayed: tuple[Relay, Relay]) -> None:
    with client_at(("blue", relayed[0].address), health_check_interval=0, operation_timeout=0.4) as client:
        warmed(client)
        relayed[0].freeze()
        with pytest.raises(OperationTimeoutError):
            client.get_map("m").get("k").result()
        with pytest.raises(OperationOutcomeUnknown):
            client.get_queue("q").offer(1).result()


@pytest.mark.timing
@pytest.mark.parametrize("flavour", ["future", "blocking"])
def test_destroy_on_a_frozen_cluster(flavour: str, relayed: tuple[Relay, Relay]) -> None:
    with client_at(("blue", relayed[0].address), health_check_interval=0, operation_timeout=0.4) as client:
        warmed(client)
        structure: Any = client.get_map("m")
        relayed[0].freeze()
        began = fair_time()
        with pytest.raises(OperationTimeoutError):
            (structure if flavour == "future" else structure.blocking()).destroy()
        assert fair_time() - began < 2.0


def test_own_timeout_is_added(blue: LocalCluster) -> None:
    """A method's own timeout is added to operation_timeout."""
    with client_on(blue, operation_timeout=0.3) as client:
        queue = client.get_queue("own-timeout").blocking()
        began = time.monotonic()
        assert queue.poll(timeout=1.0) is None
        assert time.monotonic() - began > 0.9
        locks = client.get_map("own-timeout").blocking()
        holder = BackgroundCall(lambda: locks.lock("k")).wait()
        assert holder.error is None
        assert locks.try_lock("k", timeout=0.8) is False
        assert locks.try_put("k", 1, timeout=0.8) is False
        locks.force_unlock("k")


def test_take_waits_without_end(blue: LocalCluster) -> None:
    with client_on(blue, operation_timeout=0.3) as client:
        queue = client.get_queue("endless")
        taken = BackgroundCall(lambda: queue.blocking().take())
        time.sleep(0.8)  # well beyond operation_timeout: nothing may have happened
        assert not taken.is_over
        queue.blocking().offer("at last")
        assert taken.wait().result == "at last"


def test_read_many_waits_for_items_only(relayed: tuple[Relay, Relay]) -> None:
    """With min_count 0 it does not wait beyond operation_timeout, with more it does."""
    with client_at(("blue", relayed[0].address), health_check_interval=0, operation_timeout=0.3) as client:
        buffer = client.get_ringbuffer("waiting").blocking()
        sequence = buffer.add("first")
        relayed[0].freeze()
        with pytest.raises(OperationTimeoutError):
            buffer.read_many(sequence, 0, 1)
        waiting = BackgroundCall(lambda: buffer.read_many(sequence, 1, 1))
        time.sleep(1.6)  # beyond operation_timeout: it may wait for items as long as it takes
        assert not waiting.is_over
        relayed[0].resume()
        assert waiting.wait().result.read_count == 1


@pytest.mark.timing
def test_offline_fails_in_milliseconds(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    with client_on(cluster) as client:
        warmed(client)
        cluster.kill()
        eventually(lambda: client.status().state == "offline")

        def fail(call: Callable[[Any], object]) -> None:
            with pytest.raises(ClientOfflineException, match="blue"):
                call(client)

        for call in CALLS.values():
            assert takes_less(0.1, partial(fail, call))
        future = client.get_map("m").get("k")
        with pytest.raises(ClientOfflineException):
            future.result()


@pytest.mark.timing
def test_wait_timeout_of_operations() -> None:
    address = f"127.0.0.1:{free_port()}"
    config = FailoverConfig()
    config.add_cluster("absent", [address])
    client: Any = HazelcastClient(config, try_count=50, retry_delay=0.5, wait_timeout=0.3)
    began = fair_time()
    with pytest.raises(ClientOfflineException):
        READ(client)
    assert fair_time() - began < 1.5
    client.shutdown()


def test_wait_timeout_of_many_futures() -> None:
    """Futures wait for a switch at the same time, not one after the other."""
    with Peer(silent) as peer:
        config = FailoverConfig()
        config.add_cluster("silent", [peer.address])
        client: Any = HazelcastClient(config, try_count=5, wait_timeout=0.5)
        began = time.monotonic()
        took: list[float] = []
        for number in range(20):
            client.get_map("m").get(number).add_done_callback(lambda _: took.append(time.monotonic() - began))
        eventually(lambda: len(took) == 20, 12.0)
        assert took[0] > 0.4 and took[-1] < 2.0
        client.shutdown()


def test_wait_timeout_of_futures_in_flight(
    blue: LocalCluster,
) -> None:
    """After a loss, those to repeat wait at the same time and do not delay the ends of the others."""
    with Relay(blue.addresses[0]) as relay, Peer(silent) as peer:
        addresses = [("blue", relay.address), ("silent", peer.address)]
        options = {"standby": "cold", "wait_timeout": 1.5, "connect_timeout": 9.0, "health_check_interval": 0}
        with client_at(*addresses, **options) as client:
            warmed(client)
            relay.freeze()
            reads = [client.get_map("m").get(number) for number in range(20)]
            offers = [client.get_queue("q").offer(number) for number in range(5)]
            eventually(lambda: waits_for_answer(client, 25))
            ended: dict[int, float] = {}
            for future in reads + offers:
                future.add_done_callback(lambda done: ended.setdefault(id(done), time.monotonic()))
            began = time.monotonic()
            relay.refuse()
            eventually(lambda: len(ended) == 25)
        after = {id_: at - began for id_, at in ended.items()}
        assert all(isinstance(offer.exception(), OperationOutcomeUnknown) for offer in offers)
        assert all(isinstance(read.exception(), ClientOfflineException) for read in reads)
        assert max(after[id(offer)] for offer in offers) < 1.2
        assert all(1.3 < after[id(read)] < 4.0 for read in reads)


def test_calls_after_shutdown(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        numbers = client.get_map("m")
    with pytest.raises(HazelcastClientNotActiveError):
        numbers.blocking().get("k")
    with pytest.raises(HazelcastClientNotActiveError):
        numbers.get("k").result()


@pytest.mark.parametrize(
    "use",
    [
        lambda client: client.start(),
        lambda client: client.switch_to("dev"),
        lambda client: client.reset(),
        lambda client: client.same_cluster().__enter__(),
        lambda client: client.get_map("m").add_entry_listener(added_func=print).result(),
        lambda client: client.get_map("m").remove_entry_listener("an id").result(),
        lambda client: client.remove_distributed_object_listener("an id").result(),
        lambda client: client.get_distributed_objects(),
        lambda client: client.new_transaction(),
        lambda client: client.sql.execute("SELECT 1").result(),
        lambda client: client.partition_service.get_partition_count(),
        lambda client: client.cp_subsystem.get_atomic_long("n").blocking().get(),
        lambda client: client.get_flake_id_generator("f").blocking().new_id(),
        lambda client: client.get_map("m").blocking().destroy(),
    ],
)
def test_every_use_after_shutdown(
    use: Callable[[Any], object],
) -> None:
    """Each raises the same error, which can be printed and pickled."""
    client = HazelcastClient(ClientConfig())
    client.shutdown()
    with pytest.raises(HazelcastClientNotActiveError) as raised:
        use(client)
    error = pickle.loads(pickle.dumps(raised.value))
    assert type(error) is type(raised.value)
    assert str(error) == str(raised.value) == "the client was shut down"


def test_drain_timeout_ends_operations(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, drain_timeout=0.3) as client:
        taking = BackgroundCall(lambda: client.get_queue("drained").blocking().take())
        eventually(lambda: waits_for_answer(client))
        client.switch_to("green")
        assert isinstance(taking.wait(3).error, OperationOutcomeUnknown)
