"""Many listeners are carried to another cluster for as long as its members answer, and no longer."""

import gc
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hazelcast.future import Future, ImmediateFuture
from hazelcast.invocation import Invocation
from hazelcast.protocol.codec import client_ping_codec

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.client._connect.future_batch import Cancelled, FutureBatch
from flask_hazelcast_failover.client._official import LightFuture
from flask_hazelcast_failover.client._official.listeners.slow_members import SlowMembers, send_to_any
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.calls import BackgroundCall
from tests.support.clients import QUICK, client_on
from tests.support.fair_time import fair_time
from tests.support.operations import reaches
from tests.support.relay import Relay
from tests.support.waiting import eventually


def behind(blue: str, green: str, **options: Any) -> Any:
    config = FailoverConfig()
    config.add_cluster("blue", [blue], smart_routing=False, known_members=False)
    config.add_cluster("green", [green], smart_routing=False, known_members=False)
    return HazelcastClient(config, **QUICK | {"health_check_interval": 0} | options)


def connected(client: Any, label: str) -> bool:
    return label in client.control.connected_clusters()


class TestSilence:
    """Waiting ends by silence, not by the sum."""

    def test_answers_one_after_the_other(self) -> None:
        """Together they may take longer than the silence that ends it."""
        answers, asked = FutureBatch(0.4, lambda: True), [Future[Any]() for _ in range(8)]
        for future in asked:
            answers.add(future)

        def answer() -> None:
            for future in asked:
                time.sleep(0.15)
                future.set_result(None)

        answering = BackgroundCall(answer)
        answers.wait()
        assert answering.wait().error is None
        assert all(future.done() for future in asked)

    def test_silence_after_an_answer(self) -> None:
        """It ends so long after the last answer, counted from that."""
        answers, asked = FutureBatch(0.5, lambda: True), [Future[Any]() for _ in range(3)]
        for future in asked:
            answers.add(future)
        at: list[float] = []

        def answer() -> None:
            time.sleep(0.3)
            asked[0].set_result(None)
            at.append(time.monotonic())

        BackgroundCall(answer)
        with pytest.raises(TimeoutError, match=r"no answer for 0\.5 s, 2 are missing"):
            answers.wait()
        assert 0.49 <= time.monotonic() - at[0] < 1.5

    def test_a_failure_is_an_answer_too(self) -> None:
        """What was refused is waited for no longer."""
        answers, refused = FutureBatch(0.2, lambda: True), Future[Any]()
        refused.set_exception(ValueError())
        answers.add(refused)
        answers.add(ImmediateFuture(None))
        answers.wait()

    def test_called_off(self) -> None:
        """A wait that is not wanted any more ends soon, and takes no more futures."""
        wanted = [True]
        answers = FutureBatch(60, lambda: wanted[0])
        answers.add(Future())
        waiting = BackgroundCall(answers.wait)
        wanted[0] = False
        assert isinstance(waiting.wait().error, Cancelled)
        with pytest.raises(Cancelled):
            answers.add(Future())


class TestLightFuture:
    """The future that costs little does what the official one does."""

    def test_results(self) -> None:
        """A result is passed on and waited for."""
        future = LightFuture()
        called: list[Any] = []
        future.add_done_callback(called.append)
        following = future.continue_with(lambda done: done.result() + 1)
        waiting = BackgroundCall(future.result)
        assert not future.done()
        future.set_result(1)
        future.add_done_callback(called.append)
        assert (waiting.wait().result, following.result(), called) == (1, 2, [future, future])
        assert (future.is_success(), future.exception()) == (True, None)

    def test_errors(self) -> None:
        """An error is passed on and waited for."""
        future, error = LightFuture(), ValueError("no")
        waiting = BackgroundCall(future.result)
        future.set_exception(error)
        assert (waiting.wait().error, future.exception(), future.is_success()) == (error, error, False)

    def test_callbacks_of_many_threads(self) -> None:
        """Each callback is called once, also when it comes while the future ends."""
        for _ in range(200):
            future, go = LightFuture(), threading.Event()
            called: list[Any] = []

            def add(
                future: LightFuture = future, called: list[Any] = called, go: threading.Event = go
            ) -> None:
                go.wait()
                for _ in range(20):
                    future.add_done_callback(called.append)

            threads = [threading.Thread(target=add) for _ in range(3)]
            for thread in threads:
                thread.start()
            go.set()
            future.set_result(None)
            for thread in threads:
                thread.join()
            assert len(called) == 60


class TestSlowLinks:
    """A link over which registering takes longer than an attempt may."""

    LISTENERS = 2500

    @pytest.mark.parametrize("maps", [1, 250])
    def test_few_bytes_a_second(self, maps: int, blue: LocalCluster, green: LocalCluster) -> None:
        """They are all registered before the switch, however long that takes."""
        with (
            Relay(green.addresses[0]) as relay,
            behind(blue.addresses[0], relay.address, connect_timeout=2.0) as client,
        ):
            eventually(lambda: connected(client, "green"))
            entries = [client.get_map(f"slow {maps} {n}") for n in range(maps)]
            heard: list[Any] = []
            adding = [
                entries[n % maps].add_entry_listener(added_func=heard.append) for n in range(self.LISTENERS)
            ]
            for future in adding:
                future.result()
            relay.limit(up=25_000)
            began = time.monotonic()
            client.switch_to("green")
            assert time.monotonic() - began > 4.0  # twice what silence may last
            relay.resume()
            entries[0].blocking().set("k", 1)
            eventually(lambda: len(heard) == self.LISTENERS // maps)
            entries[0].blocking().clear()

    def test_a_far_link_with_reliable_topics(self, blue: LocalCluster, green: LocalCluster) -> None:
        """Structures that take a thread to make are made some at a time."""
        with (
            Relay(green.addresses[0]) as relay,
            behind(blue.addresses[0], relay.address, connect_timeout=3.0) as client,
        ):
            eventually(lambda: connected(client, "green"))
            relay.delay(0.3)
            heard: list[Any] = []
            topics = [client.get_reliable_topic(f"far {n}") for n in range(200)]
            for topic in topics:
                topic.add_listener(heard.append).result()
            client.switch_to("green")
            relay.resume()
            topics[-1].blocking().publish("m")
            eventually(lambda: heard)

    def test_a_member_that_falls_silent(self, blue: LocalCluster, green: LocalCluster) -> None:
        """It is given up so long after its last answer, and not before."""
        with (
            Relay(green.addresses[0]) as relay,
            behind(blue.addresses[0], relay.address, connect_timeout=1.0) as client,
        ):
            eventually(lambda: connected(client, "green"))
            topic = client.get_topic("silent")
            adding = [topic.add_listener(print) for _ in range(500)]
            for future in adding:
                future.result()
            link = next(link for link in client._runtime.engine.links.all() if link.label == "green")
            relay.limit(up=5_000)
            carrying = BackgroundCall(lambda: client._runtime.listeners.register_on(link, 1.0))
            time.sleep(1.5)
            assert not carrying.is_over
            relay.freeze()
            began = time.monotonic()
            assert isinstance(carrying.wait().error, TimeoutError)
            assert time.monotonic() - began < 2.5

    def test_called_off(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A preparation that is not wanted any more ends soon."""
        with (
            Relay(green.addresses[0]) as relay,
            behind(blue.addresses[0], relay.address, connect_timeout=1.0) as client,
        ):
            eventually(lambda: connected(client, "green"))
            client.get_topic("off").add_listener(print).result()
            link = next(link for link in client._runtime.engine.links.all() if link.label == "green")
            relay.freeze()
            wanted = [True]
            carrying = BackgroundCall(
                lambda: client._runtime.listeners.register_on(link, 60.0, lambda: wanted[0])
            )
            wanted[0] = False
            assert isinstance(carrying.wait().error, Cancelled)


class TestSilentMembers:
    """A member that is silent is passed over for another one, a busy one is not."""

    def test_a_member_that_works_through_what_it_was_asked(self) -> None:
        """Others are asked once it is silent, and not while it answers something else."""
        member, asked = SimpleNamespace(), list[Invocation]()

        def invoke(invocation: Invocation) -> None:
            invocation.sent_connection = member
            asked.append(invocation)

        def add_timer(delay: float, call: Callable[[], None]) -> None:
            threading.Timer(delay, call).start()

        slow_members = SlowMembers(add_timer, lambda: True)
        future = send_to_any(
            invoke, lambda: client_ping_codec.encode_request(), slow_members, lambda: [member]
        )
        for _ in range(15):
            slow_members.on_response(member)
            time.sleep(0.1)
        assert len(asked) == 1
        eventually(lambda: len(asked) == 2)
        asked[1].future.set_result("answer")
        assert future.result() == "answer"

    @pytest.mark.timing
    def test_a_frozen_member(self, start_cluster: StartCluster) -> None:
        """Listeners are registered where members answer, soon and for all at once."""
        three = start_cluster("three", members=3)
        with client_on(three, health_check_interval=0) as client:
            numbers = client.get_map("frozen-member")
            numbers.blocking().size()
            eventually(lambda: reaches(client, 3))
            three.freeze(2)
            adding = [numbers.add_entry_listener(added_func=print) for _ in range(300)]
            began = fair_time()
            for future in adding:
                future.result()
            assert fair_time() - began < 3.0
            three.thaw(2)


class TestCost:
    """What registering costs does not go by a clock here: objects, timers and wake-ups are counted."""

    def test_objects(self, blue: LocalCluster, green: LocalCluster) -> None:
        """A listener that is like another one costs a dozen objects on a link, so collecting garbage stays cheap."""
        with client_on(blue, green) as client:
            entries = client.get_map("objects")
            eventually(lambda: connected(client, "green"))

            def add(how_many: int) -> None:
                for future in [entries.add_entry_listener(added_func=print) for _ in range(how_many)]:
                    future.result()

            add(10)
            client.switch_to("green")
            gc.collect()
            before = len(gc.get_objects())
            add(1000)
            gc.collect()
            assert len(gc.get_objects()) - before < 16_000

    def test_timers(self, blue: LocalCluster, green: LocalCluster) -> None:
        """One timer looks after all that is asked."""
        with client_on(blue, green) as client:
            eventually(lambda: connected(client, "green"))
            topic = client.get_topic("timers")
            adding = [topic.add_listener(print) for _ in range(300)]
            for future in adding:
                future.result()
            reactor = client.control.connected_clusters()["green"]._reactor
            timers: list[float] = []
            add_timer = reactor._loop.add_timer

            def count(delay: float, callback: Any) -> Any:
                timers.append(delay)
                return add_timer(delay, callback)

            reactor._loop.add_timer = count
            client.switch_to("green")
            assert sum(delay <= 0.5 for delay in timers) < 60
