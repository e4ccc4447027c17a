"""Operations in flight are repeated, or end with an unknown outcome, and never hang."""

import threading
import time
from functools import partial
from typing import Any

import pytest
from hazelcast.future import Future

from flask_hazelcast_failover import FailoverConfig, HazelcastClient, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.operations import CALLS, ONCE, reaches, waits_for_answer, warmed
from tests.support.relay import Relay
from tests.support.waiting import eventually


@pytest.mark.parametrize("repeat", ["repeatable", "reads", "none"])
def test_loss_of_a_cluster(repeat: str, relayed: tuple[Relay, Relay]) -> None:
    """Operations in flight are repeated on the next cluster by their idempotency and the option repeat."""
    repeated = {
        "repeatable": {"READ", "REPEATABLE", "REPEATABLE_ELSEWHERE"},
        "reads": {"READ"},
        "none": set(),
    }[repeat]
    addresses = [("blue", relayed[0].address), ("green", relayed[1].address)]
    with client_at(*addresses, repeat=repeat, health_check_interval=0) as client:
        warmed(client)
        relayed[0].freeze()
        outcomes = {
            name: [BackgroundCall(partial(call, client)) for _ in range(2)] for name, call in CALLS.items()
        }
        eventually(lambda: waits_for_answer(client, 8))
        relayed[0].refuse()
        for name, both in outcomes.items():
            for outcome in both:
                outcome.wait(5)
                if name in repeated:
                    assert outcome.error is None, name
                else:
                    assert isinstance(outcome.error, OperationOutcomeUnknown), name
        eventually(lambda: client.status().current_cluster == "green")
        assert client.operation_counts().repeated == 2 * len(repeated)
        assert client.operation_counts().unknown == 8 - 2 * len(repeated)


def test_loss_of_a_connection(relayed: tuple[Relay, Relay]) -> None:
    """On the same data, only what has the same answer twice is repeated."""
    with client_at(("blue", relayed[0].address), health_check_interval=0) as client:
        warmed(client)
        relayed[0].freeze()
        outcomes = {name: BackgroundCall(partial(call, client)) for name, call in CALLS.items()}
        eventually(lambda: waits_for_answer(client, 4))
        relayed[0].cut()
        relayed[0].resume()
        for outcome in outcomes.values():
            outcome.wait(5)
        assert {name: type(outcome.error) for name, outcome in outcomes.items()} == {
            "READ": type(None),
            "REPEATABLE": type(None),
            "REPEATABLE_ELSEWHERE": OperationOutcomeUnknown,
            "ONCE": OperationOutcomeUnknown,
        }


def test_error_names_method_and_cluster(relayed: tuple[Relay, Relay]) -> None:
    addresses = [("blue", relayed[0].address), ("green", relayed[1].address)]
    with client_at(*addresses, health_check_interval=0) as client:
        warmed(client)
        relayed[0].freeze()
        outcome = BackgroundCall(lambda: ONCE(client))
        eventually(lambda: waits_for_answer(client))
        relayed[0].refuse()
        message = str(outcome.wait().error)
        assert all(part in message for part in ("Queue.offer", "'q'", "blue", "ONCE")), message


def test_no_operation_fails_in_a_switch(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    blue, green = pair
    failures: list[BaseException] = []
    stop = threading.Event()
    with client_on(blue, green) as client:
        numbers = client.get_map("load").blocking()

        def work(number: int) -> None:
            while not stop.is_set():
                try:
                    numbers.set(number, number)
                    assert numbers.get(number) in (number, None)
                    numbers.put(number, number)
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        blue.kill()
        eventually(lambda: client.status().current_cluster == "green")
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join(10)
        assert not failures


def test_loss_of_a_member(start_cluster: StartCluster) -> None:
    cluster = start_cluster("three", 3)
    with client_on(cluster, operation_timeout=20.0, health_check_failures=30) as client:
        eventually(lambda: reaches(client, 3))
        counter = client.get_pn_counter("hits").blocking()
        queues = [client.get_queue(f"q{number}") for number in range(12)]
        numbers = client.get_map("m").blocking()
        numbers.put_all({number: number for number in range(100)})
        counter.add_and_get(1)
        takes = [queue.take() for queue in queues]
        reads = [BackgroundCall(lambda: [numbers.get(n) for n in range(100)]) for _ in range(4)]
        eventually(lambda: waits_for_answer(client, 12))
        cluster.kill(2)
        for outcome in reads:
            assert outcome.wait(20).error is None
        lost = eventually(lambda: [take for take in takes if take.done()])
        assert all(isinstance(take.exception(), OperationOutcomeUnknown) for take in lost)
        assert client.status().epoch == 1
        for queue in queues:
            queue.blocking().offer("still there")
        assert all(take.result() == "still there" for take in takes if take not in lost)


def test_official_retries_follow_the_table(start_cluster: StartCluster) -> None:
    """What the official client would send again by itself is repeated by the method table only."""
    cluster = start_cluster("three", 3)
    with client_on(cluster, operation_timeout=20.0, health_check_failures=30) as client:
        eventually(lambda: reaches(client, 3))
        locks = client.get_map("locks")
        BackgroundCall(lambda: [locks.blocking().lock(number) for number in range(20)]).wait()
        waiting = [locks.lock(number) for number in range(20)]
        eventually(lambda: waits_for_answer(client, 20))
        cluster.kill(2)
        lost = eventually(lambda: [lock for lock in waiting if lock.done()])
        assert all(isinstance(lock.exception(), OperationOutcomeUnknown) for lock in lost)


def test_counter_does_not_count_twice(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue", 2)
    with client_on(cluster) as client:
        eventually(lambda: reaches(client, 2))  # or the other member would be asked to pass the call on
        counter = client.get_pn_counter("hits")
        counter.blocking().add_and_get(1)
        replica = counter._current_target_replica_address
        index = next(
            i
            for i, member in enumerate(cluster.members)
            if member.address.endswith(f":{replica.address.port}")
        )
        cluster.freeze(index)
        adding = counter.add_and_get(10)
        eventually(lambda: waits_for_answer(client))
        cluster.kill(index)
        with pytest.raises(OperationOutcomeUnknown, match="add_and_get"):
            adding.result()
        counter.blocking().reset()  # the state that only the dead member had is gone, which is no fault of ours
        assert counter.blocking().get() in (0, 1, 10, 11)


def test_not_run_is_repeated_by_any_policy(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green, repeat="none") as client:
        warmed(client)
        blue.kill()
        eventually(lambda: client.status().current_cluster != "blue")
        assert ONCE(client) is True
        assert client.get_map("m").blocking().put_if_absent("new", 1) is None


def test_future_ends_once(relayed: tuple[Relay, Relay]) -> None:
    addresses = [("blue", relayed[0].address), ("green", relayed[1].address)]
    with client_at(*addresses, health_check_interval=0) as client:
        warmed(client)
        relayed[0].freeze()
        calls: list[Future[Any]] = []
        reads = [client.get_map("m").get("k") for _ in range(200)]
        offers = [client.get_queue("q").offer(n) for n in range(200)]
        for future in reads + offers:
            future.add_done_callback(calls.append)
        relayed[0].refuse()
        eventually(lambda: len(calls) == 400)
        assert all(read.is_success() for read in reads)
        assert all(isinstance(offer.exception(), OperationOutcomeUnknown) for offer in offers)
        relayed[0].resume()
        assert client.get_map("m").blocking().get("k") == 1
        assert len(calls) == 400
        assert client._runtime.route.link is not None and client._runtime.route.link.is_idle


def test_callback_that_waits_after_a_loss(relayed: tuple[Relay, Relay]) -> None:
    """A callback that waits for another operation blocks nobody else for ever."""
    addresses = [("blue", relayed[0].address), ("green", relayed[1].address)]
    with client_at(*addresses, health_check_interval=0) as client:
        warmed(client)
        relayed[0].freeze()
        seen: list[BaseException] = []

        def ask_again(_: Future[Any]) -> None:
            try:
                client.get_map("m").get("k").result()
            except BaseException as error:
                seen.append(error)

        client.get_queue("q").offer(1).add_done_callback(ask_again)
        later = client.get_map("m").get("k")
        relayed[0].refuse()
        assert BackgroundCall(later.result).wait(5).error is None
        eventually(lambda: seen or client.get_map("m").blocking().get("k") == 1)


def test_future_connects_at_first_use(blue: LocalCluster) -> None:
    config = FailoverConfig()
    config.add_cluster(blue.name, blue.addresses)
    client: Any = HazelcastClient(config)
    assert client.get_map("first-future").set("a", 1).result() is None
    client.shutdown()


def test_future_locks_for_its_caller(blue: LocalCluster) -> None:
    config = FailoverConfig()
    config.add_cluster(blue.name, blue.addresses)
    client: Any = HazelcastClient(config)
    locks = client.get_map("future-locks")
    locks.lock("k").result()  # connects first, so it is sent by a thread of the client's own
    assert BackgroundCall(lambda: locks.blocking().try_lock("k")).wait().result is False
    locks.blocking().unlock("k")
    assert BackgroundCall(lambda: locks.blocking().try_lock("k")).wait().result is True
    client.shutdown()


def test_graceful_switch_drains(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        queue = client.get_queue("graceful")
        taking = queue.take()
        client.switch_to("green")
        queue.blocking().offer("on green")
        assert not taking.done()
        with client_on(blue) as other:
            other.get_queue("graceful").blocking().offer("on blue")
        assert BackgroundCall(taking.result).wait().result == "on blue"
        assert queue.blocking().poll() == "on green"
