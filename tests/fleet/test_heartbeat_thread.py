"""The fleet's thread: heartbeats at their time, and soon when woken."""

import threading
import time
from collections.abc import Iterator

import pytest

from flask_hazelcast_failover._fleet.heartbeat_thread import HeartbeatThread
from tests.support.waiting import eventually


class Counted:
    """A heartbeat that only counts; the next one on its own is far away."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.thread = HeartbeatThread("test", self.beat, lambda: False)

    def beat(self) -> None:
        self.times.append(time.monotonic())
        self.thread.schedule(time.monotonic() + 60)


@pytest.fixture
def counted() -> Iterator[Counted]:
    counted = Counted()
    yield counted
    counted.thread.stop(5)


def test_a_wake_up_causes_one_heartbeat(counted: Counted) -> None:
    counted.thread.wake()
    eventually(lambda: len(counted.times) == 1)


def test_a_storm_of_wake_ups_causes_few_heartbeats(counted: Counted) -> None:
    """Whoever writes to the fleet's map can wake its processes."""
    stopped = threading.Event()

    def storm() -> None:
        while not stopped.is_set():
            counted.thread.wake()

    storming = threading.Thread(target=storm)
    storming.start()
    eventually(lambda: len(counted.times) >= 20)
    stopped.set()
    storming.join()
    assert counted.times[19] - counted.times[0] > 19 * 0.049


def test_a_task_is_not_delayed_by_a_wake_up(counted: Counted) -> None:
    counted.thread.wake()
    eventually(lambda: len(counted.times) == 1)
    counted.thread.wake()
    assert counted.thread.call(lambda: len(counted.times), 5.0) == 1
