"""Listeners follow the client, under the ids first given, and receive events of the active cluster only."""

import itertools
import threading
import time
from collections import Counter
from typing import Any

import pytest
from hazelcast.errors import HazelcastError

from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import client_on
from tests.support.fair_time import fair_time
from tests.support.listeners import KINDS, Listening
from tests.support.operations import reaches
from tests.support.waiting import eventually


def test_every_kind_survives_a_kill(pair: tuple[LocalCluster, LocalCluster]) -> None:
    blue, green = pair
    with client_on(blue, green) as client:
        heard = Listening(client)
        heard.assert_all_receive()
        blue.kill()
        eventually(lambda: client.status().current_cluster == "green")
        heard.assert_all_receive()


def test_no_event_twice_after_a_frozen_member(blue: LocalCluster, start_cluster: StartCluster) -> None:
    """A member that was frozen when a listener was added and removed reports each event once."""
    three = start_cluster("three", members=3)
    with client_on(three, blue, health_check_interval=0) as client:
        numbers = client.get_map("heard-once").blocking()
        numbers.put_all({number: number for number in range(100)})
        numbers.clear()
        eventually(lambda: reaches(client, 3))
        heard: list[int] = []
        three.freeze(0)
        numbers.add_entry_listener(added_func=lambda event: heard.append(event.key))
        client.switch_to("blue")
        three.thaw(0)
        client.switch_to("three")
        # What comes twice would come before the next batch has come.
        for batch in (range(100), range(100, 200)):
            numbers.put_all({number: number for number in batch})
            eventually(lambda: set(heard) >= set(batch))  # noqa: B023
        assert sorted(heard) == list(range(200))


def test_one_function_under_several_ids(blue: LocalCluster, green: LocalCluster) -> None:
    """A function can be added several times and to several clients; each registration has its own id."""
    with client_on(blue, green) as client, client_on(blue, green) as other:
        heard: list[str] = []
        entries, of_other = (one.get_map("shared").blocking() for one in (client, other))

        def hear(event: Any) -> None:
            heard.append(event.key)

        first, second = (entries.add_entry_listener(added_func=hear) for _ in range(2))
        third = of_other.add_entry_listener(added_func=hear)
        for one in (client, other):
            one.switch_to("green")
        entries.put("all three", 1)
        eventually(lambda: heard.count("all three") == 3)
        assert entries.remove_entry_listener(first)
        entries.put("two", 1)
        eventually(lambda: heard.count("two") == 2)
        assert of_other.remove_entry_listener(third)
        entries.put("one", 1)
        eventually(lambda: heard.count("one") == 1)
        assert entries.remove_entry_listener(second)
        assert not entries.remove_entry_listener(second)
        entries.put("nobody", 1)
        entries.add_entry_listener(added_func=hear)
        entries.put("end", 1)
        eventually(lambda: "end" in heard)
        assert Counter(heard) == {"all three": 3, "two": 2, "one": 1, "end": 1}
        entries.destroy()


def test_every_kind_hears_the_active_cluster_only(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client, client_on(blue) as on_blue, client_on(green) as on_green:
        heard = Listening(client)
        for label, stranger in (("green", on_blue), ("blue", on_green), ("green", on_blue)):
            client.switch_to(label)
            heard.assert_all_receive()
            heard.clear()
            for _, cause, _ in KINDS.values():
                cause(stranger)
            heard_from_here = KINDS["Queue"]
            heard_from_here[1](client)  # comes after all that the other cluster might have said
            eventually(lambda: heard.events["Queue"])
            assert heard.without_events() == [kind for kind in KINDS if kind != "Queue"]
            assert len(heard.events["Queue"]) == 1


def test_every_kind_survives_a_restart(
    start_cluster: StartCluster,
) -> None:
    cluster = start_cluster("blue")
    with client_on(cluster, try_count=100, wait_timeout=30.0, health_check_interval=0) as client:
        heard = Listening(client)
        cluster.restart()
        eventually(lambda: client.status().epoch > 1, within=20)
        heard.assert_all_receive()


def test_every_kind_is_removed_by_its_first_id(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        heard = Listening(client)
        client.switch_to("green")
        for kind, (_, _, remove) in KINDS.items():
            assert remove(client, heard.ids[kind]) is True, kind
            assert remove(client, heard.ids[kind]) is False, kind
        client.switch_to("blue")
        probe: list[Any] = []
        KINDS["Queue"][0](client, probe.append)
        heard.clear()
        for _, cause, _ in KINDS.values():
            cause(client)
        eventually(lambda: probe)
        assert heard.without_events() == list(KINDS)


def test_removal_while_offline(start_cluster: StartCluster) -> None:
    cluster = start_cluster("blue")
    with client_on(cluster, health_check_interval=0) as client:
        heard: list[Any] = []
        id_ = client.get_queue("q").blocking().add_listener(item_added_func=heard.append)
        cluster.kill()
        eventually(lambda: client.status().state == "offline")
        assert client.get_queue("q").blocking().remove_listener(id_) is True
        cluster.restart()
        eventually(lambda: client.status().state == "connected", within=20)
        probe: list[Any] = []
        client.get_queue("q").blocking().add_listener(item_added_func=probe.append)
        client.get_queue("q").blocking().add(1)
        eventually(lambda: probe)
        assert not heard


def test_listeners_added_during_switches(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        topic = client.get_topic("during").blocking()
        heard: dict[int, list[Any]] = {}
        stop = threading.Event()

        def add_many() -> None:
            while not stop.is_set():
                number = len(heard)
                heard[number] = []
                topic.add_listener(heard[number].append)

        adding = BackgroundCall(add_many)
        for label in ("green", "blue") * 5:
            client.switch_to(label)
        stop.set()
        assert adding.wait().error is None

        messages = itertools.count(1)

        def all_have_heard_the_next() -> int | None:
            message = next(messages)
            topic.publish(message)
            time.sleep(0.05)
            return message if all(times_heard(events, message) for events in heard.values()) else None

        def times_heard(events: list[Any], message: int) -> int:
            return sum(event.message == message for event in events)

        message = eventually(all_have_heard_the_next, within=10)
        assert message is not None
        assert {times_heard(events, message) for events in heard.values()} == {1}


@pytest.mark.timing
def test_slow_listener_delays_nothing_else(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green, health_check_timeout=0.5, health_check_failures=3) as client:
        release = threading.Event()
        client.get_queue("slow").blocking().add_listener(item_added_func=lambda _: release.wait(20))
        client.get_queue("slow").blocking().add(1)
        numbers = client.get_map("quick").blocking()
        began, slowest = time.monotonic(), 0.0
        while time.monotonic() - began < 1.5:  # several rounds of health checks
            before = fair_time()
            numbers.get("k")
            slowest = max(slowest, fair_time() - before)
        assert slowest < 0.5
        assert (client.status().current_cluster, client.status().epoch) == ("blue", 1)
        release.set()


def test_queued_events_are_dropped(blue: LocalCluster, green: LocalCluster) -> None:
    """A switch or a removal drops the events that wait in the queue."""
    with client_on(blue, green) as client:
        topic = client.get_topic("queued").blocking()
        heard: list[Any] = []
        reached, release = threading.Event(), threading.Event()

        def hold_up(_: Any) -> None:
            reached.set()
            release.wait(10)

        topic.add_listener(hold_up)
        id_ = topic.add_listener(heard.append)
        topic.publish("held up")
        assert reached.wait(5)
        topic.publish("behind it")
        eventually(lambda: client._runtime._listener_executor._tasks.qsize() >= 2)
        heard.clear()
        client.switch_to("green")
        release.set()
        topic.publish("on green")
        eventually(lambda: heard)
        assert [event.message for event in heard] == ["on green"]
        reached.clear()
        release.clear()
        topic.publish("held up again")
        assert reached.wait(5)
        topic.publish("behind it")
        eventually(lambda: client._runtime._listener_executor._tasks.qsize() >= 2)
        heard.clear()
        assert topic.remove_listener(id_) is True
        release.set()
        done = threading.Event()
        topic.add_listener(lambda _: done.set())
        topic.publish("last")
        assert done.wait(5)
        assert not heard


def test_listener_may_use_the_client(blue: LocalCluster, green: LocalCluster) -> None:
    with client_on(blue, green) as client:
        copies = client.get_map("copies").blocking()

        def copy(event: Any) -> None:
            copies.set(event.item, True)
            assert client.get_map("copies").contains_key(event.item).result()
            client.get_topic("made-by-a-listener").blocking().publish("x")

        client.get_queue("sources").blocking().add_listener(True, item_added_func=copy)
        client.get_queue("sources").blocking().add("one")
        eventually(lambda: copies.contains_key("one"))
        client.switch_to("green")
        client.get_queue("sources").blocking().add("two")
        eventually(lambda: copies.contains_key("two"))


def test_listeners_are_called_in_order_on_one_thread(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        heard: list[tuple[Any, int]] = []
        topic = client.get_topic("order").blocking()
        topic.add_listener(lambda message: heard.append((message.message, threading.get_ident())))
        for number in range(100):
            topic.publish(number)
        eventually(lambda: len(heard) == 100)
        assert [number for number, _ in heard] == list(range(100))
        assert len({thread for _, thread in heard}) == 1


def test_listener_that_raises(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        heard: list[Any] = []
        topic = client.get_topic("raising").blocking()
        topic.add_listener(lambda _: 1 / 0)
        topic.add_listener(heard.append)
        topic.publish("a")
        topic.publish("b")
        eventually(lambda: len(heard) == 2)


def test_refused_listener_does_not_prevent_a_switch(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    from hazelcast.predicate import sql

    first, second = pair
    with client_on(first, second) as client:
        first_map = client.get_map("picky")
        heard: list[Any] = []
        first_map.blocking().add_entry_listener(added_func=heard.append)
        first_map.blocking().add_entry_listener(predicate=sql("this > 1"), added_func=heard.append)
        client.switch_to("green")
        first_map.blocking().set("a", 2)
        eventually(lambda: len(heard) == 2)


def test_removal_without_an_id(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        with pytest.raises(AssertionError, match=r"^None user_registration_id is not allowed!$"):
            client.get_map("none").blocking().remove_entry_listener(None)


def test_failed_listener_is_not_registered_elsewhere(blue: LocalCluster) -> None:
    with client_on(blue) as client:
        with pytest.raises((HazelcastError, TypeError, AssertionError)):
            client.get_topic("t").blocking().add_listener()
        assert client._runtime.listeners.is_empty()
