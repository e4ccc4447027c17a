"""Transactions belong to one cluster: a graceful switch lets them finish, a loss ends them."""

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hazelcast.errors import (
    HazelcastClientNotActiveError,
    IllegalStateError,
    OperationTimeoutError,
    TransactionError,
)

from flask_hazelcast_failover import (
    ClientOfflineException,
    ClusterChanged,
    FailoverConfig,
    HazelcastClient,
    OperationOutcomeUnknown,
)
from flask_hazelcast_failover.testing import LocalCluster, free_port
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually


@pytest.fixture
def relay(blue: LocalCluster) -> Iterator[Relay]:
    with Relay(blue.addresses[0]) as between:
        yield between


def test_transactional_structures_work_as_officially(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        with client.new_transaction(10, 1, 2) as transaction:
            transaction.get_map("t").put("k", "v")
            transaction.get_queue("t-queue").offer("item")
            transaction.get_list("t-list").add("item")
            transaction.get_set("t-set").add("item")
            transaction.get_multi_map("t-multi_map").put("k", "v")
            assert client.get_map("t").blocking().get("k") is None
        assert client.get_map("t").blocking().get("k") == "v"
        assert client.get_queue("t-queue").blocking().poll() == "item"
        assert client.get_list("t-list").blocking().get_all() == ["item"]
        assert client.get_set("t-set").blocking().get_all() == ["item"]
        assert client.get_multi_map("t-multi_map").blocking().get("k") == ["v"]


def test_error_in_the_block_rolls_back(blue: LocalCluster) -> None:
    with client_on(blue) as client:

        def fail() -> None:
            with client.new_transaction() as transaction:
                transaction.get_map("rolled-back").put("k", 1)
                _ = 1 / 0

        with pytest.raises(ZeroDivisionError):
            fail()
        assert client.get_map("rolled-back").blocking().get("k") is None


def test_misuse_raises_the_official_errors(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        transaction = client.new_transaction()
        with pytest.raises(TransactionError, match="active"):
            transaction.get_map("m")
        transaction.begin()
        with pytest.raises(TransactionError):
            transaction.begin()
        with pytest.raises(TransactionError, match="Nested"):
            client.new_transaction().begin()
        assert isinstance(
            BackgroundCall(transaction.commit).wait().error, TransactionError
        )  # another thread's
        transaction.rollback()
        with pytest.raises(TransactionError, match="not active"):
            transaction.commit()
        with client.new_transaction():
            pass


def test_graceful_switch_lets_transactions_finish(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client, client_on(blue) as on_blue:
        with client.new_transaction() as transaction:
            transaction.get_map("finishing").put("k", "begun on blue")
            client.switch_to("green")
            assert client.get_map("finishing").blocking().get("k") is None
            transaction.get_map("finishing").put("k2", "still on blue")
        assert on_blue.get_map("finishing").blocking().get("k") == "begun on blue"
        assert on_blue.get_map("finishing").blocking().get("k2") == "still on blue"
        assert client.get_map("finishing").blocking().is_empty()
        eventually(lambda: client.status().clusters[0].state == "standby")


def test_transaction_begins_on_the_active_cluster(blue: LocalCluster, green: LocalCluster) -> None:
    """Also if it was made before a switch."""
    with client_on(blue, green) as client:
        transaction = client.new_transaction()
        client.switch_to("green")
        with transaction:
            transaction.get_map("begins-late").put("k", "green")
        assert client.get_map("begins-late").blocking().get("k") == "green"


def test_loss_ends_open_transactions(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:

        def lose_it() -> None:
            with client.new_transaction() as transaction:
                transaction.get_map("lost").put("k", 1)
                blue.kill()
                eventually(lambda: client.status().current_cluster == "green")
                transaction.get_map("lost").put("k2", 2)

        with pytest.raises(ClusterChanged, match="blue"):
            lose_it()
        with client.new_transaction() as another:
            another.get_map("lost").put("k", 3)
        assert client.get_map("lost").blocking().get("k") == 3


def test_loss_does_not_hide_the_error_of_the_block(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:

        def fail() -> None:
            with client.new_transaction() as transaction:
                transaction.get_map("lost").put("k", 1)
                blue.kill()
                eventually(lambda: client.status().current_cluster == "green")
                _ = 1 / 0

        with pytest.raises(ZeroDivisionError):
            fail()


def test_commit_after_a_loss_is_cluster_changed(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:
        transaction = client.new_transaction()
        transaction.begin()
        transaction.get_map("lost").put("k", 1)
        blue.kill()
        eventually(lambda: client.status().current_cluster == "green")
        with pytest.raises(ClusterChanged):
            transaction.commit()


def test_lost_commit_has_an_unknown_outcome(relay: Relay, green: LocalCluster) -> None:
    with client_at(("blue", relay.address), ("green", green.addresses[0]), health_check_interval=0) as client:
        is_put = threading.Event()

        def commit() -> None:
            with client.new_transaction() as transaction:
                transaction.get_map("unsure").put("k", 1)
                relay.freeze()
                is_put.set()

        committing = BackgroundCall(commit)
        assert is_put.wait(5)
        eventually(
            lambda: client._runtime.route.link is not None and len(client._runtime.route.link.calls) == 2
        )
        relay.refuse()
        error = committing.wait(5).error
        assert isinstance(error, OperationOutcomeUnknown)
        assert "commit" in str(error) and "blue" in str(error)


def test_request_in_flight_ends_with_the_link(relay: Relay, green: LocalCluster) -> None:
    with client_at(("blue", relay.address), ("green", green.addresses[0]), health_check_interval=0) as client:
        ready = threading.Event()

        def work() -> None:
            with client.new_transaction() as transaction:
                items = transaction.get_queue("in-flight")
                items.size()
                ready.set()
                items.poll(30)

        working = BackgroundCall(work)
        assert ready.wait(5)
        relay.refuse()
        assert isinstance(working.wait(5).error, ClusterChanged)


def test_request_to_a_frozen_cluster_times_out(relay: Relay) -> None:
    with client_at(("blue", relay.address), health_check_interval=0, operation_timeout=0.4) as client:
        transaction = client.new_transaction()
        transaction.begin()
        items = transaction.get_map("late")
        items.put("k", 1)
        relay.freeze()
        with pytest.raises(OperationTimeoutError):
            items.put("k", 2)
        with pytest.raises(OperationOutcomeUnknown):
            transaction.commit()


def test_own_timeout_is_added(blue: LocalCluster) -> None:
    with client_on(blue, operation_timeout=0.3) as client:
        with client.new_transaction() as transaction:
            items = transaction.get_queue("patient")
            assert items.poll(0.8) is None
            assert items.peek(0.8) is None
            giving = threading.Timer(0.8, lambda: client.get_queue("patient").blocking().offer("item"))
            giving.start()
            assert items.take() == "item"
            giving.join()
            assert items.offer("other", 1) is True
            assert repr(items) == 'TransactionalQueue(name="patient")'
        assert client.get_queue("patient").blocking().poll() == "other"


def test_use_after_shutdown(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        transaction = client.new_transaction()
        transaction.begin()
        numbers = transaction.get_map("shut-down")
        numbers.put("k", 1)
    with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
        numbers.put("k", 2)
    with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
        transaction.commit()


def test_commit_during_shutdown_has_an_unknown_outcome(relay: Relay) -> None:
    with client_at(("blue", relay.address), health_check_interval=0) as client:
        began = threading.Event()

        def work() -> None:
            with client.new_transaction() as transaction:
                transaction.get_map("shut-down").put("k", 1)
                relay.freeze()
                began.set()

        working = BackgroundCall(work)
        assert began.wait(5)
        eventually(lambda: len(client._runtime.route.link.calls) == 2, message="the commit is under way")
        client.shutdown()
        assert isinstance(working.wait(5).error, OperationOutcomeUnknown)


def test_lost_connection_while_one_is_made(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official client notices a lost connection before the controller does."""
    with client_on(blue) as client:
        official = client.control.connected_clusters()["blue"]
        make, failed = official.new_transaction, list[None]()

        def fail_once(*arguments: Any) -> Any:
            if failed:
                return make(*arguments)
            failed.append(None)
            raise IllegalStateError("No active connection is found")

        monkeypatch.setattr(official, "new_transaction", fail_once)
        with client.new_transaction() as transaction:
            transaction.get_map("t").put("again", "v")
        assert failed and client.get_map("t").blocking().get("again") == "v"


def test_begin_is_repeated_elsewhere(relay: Relay, green: LocalCluster) -> None:
    with client_at(("blue", relay.address), ("green", green.addresses[0]), health_check_interval=0) as client:
        relay.freeze()

        def work() -> object:
            with client.new_transaction() as transaction:
                transaction.get_map("begun-again").put("k", "green")
            return client.get_map("begun-again").blocking().get("k")

        working = BackgroundCall(work)
        eventually(
            lambda: client._runtime.route.link is not None and len(client._runtime.route.link.calls) >= 2
        )
        relay.refuse()
        assert working.wait(5).error is None
        assert working.result == "green"


def test_abandoned_transaction_does_not_delay_a_switch(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, drain_timeout=5.0) as client:

        def abandon() -> None:
            client.new_transaction().begin()

        link = client._runtime.route.link
        BackgroundCall(abandon).wait()
        client.switch_to("green")
        gc.collect()
        eventually(lambda: link.is_idle, within=3)


def test_new_transaction_while_offline(start_cluster: StartCluster) -> None:
    config = FailoverConfig()
    config.add_cluster("absent", [f"127.0.0.1:{free_port()}"])
    client: Any = HazelcastClient(config, try_count=1)
    with pytest.raises(ClientOfflineException):
        client.new_transaction()
    client.shutdown()
