"""Reliable topics follow the client: where they go on, and when their listeners learn of the end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from hazelcast.errors import OperationTimeoutError
from hazelcast.future import ImmediateExceptionFuture
from hazelcast.proxy.reliable_topic import ReliableMessageListener

from flask_hazelcast_failover import ClientOfflineException, HazelcastClient
from flask_hazelcast_failover.client._api.listener_registrations import ListenerRegistrations
from flask_hazelcast_failover.client._api.listeners import Listeners
from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_at, client_on
from tests.support.operations import reaches
from tests.support.relay import Relay
from tests.support.waiting import eventually


class Durable(ReliableMessageListener[Any]):
    """A listener that remembers where it was and ends on request."""

    def __init__(self, initial: int = -1) -> None:
        self.initial = initial
        self.messages: list[Any] = []
        self.stored: list[int] = []
        self.cancelled = threading.Event()

    def on_message(self, message: Any) -> None:
        if message.message == "end":
            raise ValueError("ended")
        self.messages.append(message.message)

    def retrieve_initial_sequence(self) -> int:
        return self.initial

    def store_sequence(self, sequence: int) -> None:
        self.stored.append(sequence)

    def is_loss_tolerant(self) -> bool:
        return True

    def is_terminal(self, error: Exception) -> bool:
        return isinstance(error, ValueError)

    def on_cancel(self) -> None:
        self.cancelled.set()


class Behind(NamedTuple):
    """A client that has heard "before" of a topic through a relay, and who publishes there past the relay."""

    relay: Relay
    client: HazelcastClient
    listener: Durable
    publish: Callable[[str], object]


@contextmanager
def behind_a_relay(topic: str, blue: LocalCluster, *more: tuple[str, str]) -> Iterator[Behind]:
    patient: Any = {"try_count": 50, "wait_timeout": 20.0, "health_check_interval": 0}
    with Relay(blue.addresses[0]) as relay, client_on(blue) as other:
        with client_at(("blue", relay.address), *more, **patient) as client:
            listener = Durable()
            client.get_reliable_topic(topic).blocking().add_listener(listener)
            publish = other.get_reliable_topic(topic).blocking().publish
            publish("before")
            eventually(lambda: listener.messages == ["before"])
            yield Behind(relay, client, listener, publish)


def test_same_data_continues_after_the_last_message(
    blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_on = Listeners.register_on

    def slowly(listeners: Listeners, link: Link, timeout: float, **others: Any) -> None:
        register_on(listeners, link, timeout, **others)
        time.sleep(0.3)  # as long as another listener may take, while the next message could arrive

    monkeypatch.setattr(Listeners, "register_on", slowly)
    with behind_a_relay("goes-on", blue) as (relay, client, listener, publish):
        relay.refuse()
        eventually(lambda: client.status().state != "connected")
        publish("in the gap")
        relay.resume()
        eventually(lambda: client.status().state == "connected", within=20)
        publish("after")
        eventually(lambda: listener.messages == ["before", "in the gap", "after"])
        assert not listener.cancelled.is_set()


def test_failed_switch_keeps_the_position(
    blue: LocalCluster, green: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_on = Listeners.register_on

    def refuse_green(listeners: Listeners, link: Link, timeout: float, **others: Any) -> None:
        register_on(listeners, link, timeout)
        if link.label == "green":
            raise TimeoutError("another listener")

    monkeypatch.setattr(Listeners, "register_on", refuse_green)
    away = "green", green.addresses[0]
    with behind_a_relay("not-forgotten", blue, away) as (relay, client, listener, publish):
        with pytest.raises(ClientOfflineException, match="listeners"):
            client.switch_to("green")
        relay.refuse()
        eventually(lambda: client.status().state != "connected")
        publish("in the gap")
        relay.resume()
        eventually(lambda: listener.messages == ["before", "in the gap"], within=20)
        assert client.status().current_cluster == "blue"


def test_late_registration_is_repeated(blue: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    register, late = ListenerRegistrations.register, list[int]()

    def once_late(registrations: ListenerRegistrations, spec: Any, real: Any, link: Link) -> Any:
        if link.epoch == 2 and not late:
            late.append(1)
            return ImmediateExceptionFuture(OperationTimeoutError("late"))
        return register(registrations, spec, real, link)

    monkeypatch.setattr(ListenerRegistrations, "register", once_late)
    with behind_a_relay("late", blue) as (relay, _, listener, publish):
        relay.cut()
        eventually(lambda: late)
        publish("after")
        eventually(lambda: listener.messages == ["before", "after"])


def test_other_data_begins_with_new_messages(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client, client_on(green) as other:
        other.get_reliable_topic("from-now").blocking().publish("long ago")
        listener = Durable(initial=0)
        topic = client.get_reliable_topic("from-now").blocking()
        topic.add_listener(listener)
        topic.publish("on blue")
        eventually(lambda: listener.messages == ["on blue"])
        assert listener.stored == [0]
        client.switch_to("green")
        topic.publish("on green")
        eventually(lambda: listener.messages == ["on blue", "on green"])
        assert not listener.cancelled.is_set()


def test_removal_calls_on_cancel(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        topic = client.get_reliable_topic("removed").blocking()
        listener = Durable()
        id_ = topic.add_listener(listener)
        client.switch_to("green")
        assert not listener.cancelled.is_set()
        assert topic.remove_listener(id_) is True
        assert listener.cancelled.is_set()


@pytest.mark.parametrize(
    "end", [lambda client: client.shutdown(), lambda client: client.get_reliable_topic("ends").destroy()]
)
def test_end_of_topic_or_client_calls_on_cancel(
    blue: LocalCluster, green: LocalCluster, end: Callable[[Any], object]
) -> None:
    with client_on(blue, green) as client:
        listener = Durable()
        client.get_reliable_topic("ends").blocking().add_listener(listener)
        client.switch_to("green")
        assert not listener.cancelled.is_set()
        end(client)
        eventually(listener.cancelled.is_set)


def test_terminal_error_ends_the_listener(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        listener = Durable()
        topic = client.get_reliable_topic("terminal").blocking()
        id_ = topic.add_listener(listener)
        topic.publish("end")
        assert listener.cancelled.wait(5)
        client.switch_to("green")
        topic.publish("too late")
        assert topic.remove_listener(id_) is False
        assert listener.messages == []


def test_loss_of_the_member_with_the_topic(start_cluster: StartCluster) -> None:
    cluster = start_cluster("three", 3)
    with client_on(cluster, operation_timeout=20.0, health_check_failures=30) as client:
        eventually(lambda: reaches(client, 3))
        heard: dict[int, list[Any]] = {}
        for number in range(6):  # on three members, some are held by the one that dies
            heard[number] = []
            client.get_reliable_topic(f"t{number}").blocking().add_listener(heard[number].append)
        cluster.kill(2)
        eventually(lambda: len(client.cluster_service.get_members()) == 2, within=20)
        for number in range(6):
            client.get_reliable_topic(f"t{number}").blocking().publish("still there")
        eventually(lambda: all(heard.values()), within=20)
