"""The policy of a worker, without clusters and with a number for the time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_hazelcast_failover._fleet.policy import Destination, FleetPolicy, Location
from flask_hazelcast_failover._fleet.records import (
    Desired,
    Order,
    OrderSource,
    WorkerRecord,
    by_majority,
    for_all,
    for_some,
)

BOTH = frozenset({"blue", "green"})


class Process:
    """One process that sees what it is shown, and goes where its policy say."""

    def __init__(self, worker: str, current: str | None = "blue", reach: Iterable[str] = BOTH) -> None:
        self.worker = worker
        self.current = current
        self.reach = frozenset(reach)
        self.policy = FleetPolicy()
        self.heartbeats = 0

    @property
    def location(self) -> Location:
        return Location(self.worker, self.current, self.reach)

    def record(self) -> WorkerRecord:
        self.heartbeats += 1
        return WorkerRecord(
            self.worker, "host", 1, self.current, 1, tuple(sorted(self.reach)), self.heartbeats
        )

    def observes(self, places: Mapping[str, str | None], now: float) -> None:
        """Observe others, each alive, and itself."""
        others = [
            WorkerRecord(worker, "host", 1, current, 1, ("blue", "green"), heartbeat=int(now * 1000) + 1)
            for worker, current in places.items()
        ]
        self.policy.observe([*others, self.record()], self.location, now)

    def receives(self, desired: Desired, now: float) -> bool:
        return self.policy.receive(desired, self.worker, now)

    def destination(self, now: float) -> Destination | None:
        return self.policy.destination(self.location, now)

    def switches(self, now: float) -> str | None:
        """Switch to the destination, if there is one; return the cluster."""
        destination = self.destination(now)
        if destination is not None and destination.label in self.reach:
            self.current = destination.label
            self.policy.arrived(destination, now)
        elif destination is not None:
            self.policy.failed(destination, now)
        return self.current


def command(generation: int, label: str) -> Desired:
    return for_all(Desired(generation - 1, ORDER), label, "ann", OrderSource.COMMAND, holds=True)


ORDER = Order(0, None, "nobody", OrderSource.NOBODY)


# Records


def test_the_highest_generation_wins() -> None:
    """Of two of the same generation, a command wins over a majority."""
    asked, counted = command(3, "blue"), by_majority(command(2, "blue"), "green")
    assert asked.generation == counted.generation == 3
    assert asked.is_newer_than(counted) and not counted.is_newer_than(asked)
    assert command(4, "blue").is_newer_than(asked) and not asked.is_newer_than(asked)
    assert asked.is_newer_than(None)


def test_all_that_see_the_majority_write_the_same() -> None:
    last = for_some(command(2, "blue"), ["a"], "green", "ann", usual=None, holds=True)
    assert by_majority(last, "green").as_text() == by_majority(last, "green").as_text()
    assert by_majority(last, "red").order_for("a").label == "green"
    assert by_majority(last, "green").overrides == {}


@pytest.mark.parametrize(
    "desired",
    [command(3, "grün"), for_some(command(2, "blue"), ["a", "b"], "green", "ann", usual=None, holds=False)],
)
def test_a_desired_state_survives_serialisation(desired: Desired) -> None:
    assert Desired.from_text(desired.as_text()) == desired


def test_a_record_survives_serialisation() -> None:
    record = WorkerRecord("a-1", "host", 7, None, 3, ("blue", "green"), 12)
    found = WorkerRecord.from_text(record.as_text())
    assert found == record and found is not None and found.heartbeat == 12


# Orders


def test_an_order_moves_a_process_once() -> None:
    process = Process("a")
    process.observes({"b": "blue"}, 0)
    assert process.receives(command(1, "green"), 0) and not process.receives(command(1, "green"), 1)
    assert process.switches(0) == "green"
    process.current = "blue"  # green was lost
    process.observes({"b": "green"}, 1)
    assert process.destination(100) is None


def test_an_order_is_retried_with_growing_pauses() -> None:
    process = Process("a", reach={"blue"})
    process.receives(command(1, "green"), 0)
    tried = []
    for now in range(200):
        process.observes({"b": "green", "c": "blue"}, now)
        if process.destination(now) is not None:
            tried.append(now)
            process.switches(now)
    assert tried == [0, 2, 6, 14, 30, 62, 122, 182]


def test_an_order_is_followed_once_the_cluster_is_reachable() -> None:
    process = Process("a", reach={"blue"})
    process.receives(command(1, "green"), 0)
    process.switches(0)
    process.reach = BOTH
    process.observes({"b": "green", "c": "blue"}, 0.1)
    assert process.switches(0.1) == "green"


def test_an_order_for_some_does_not_move_the_others() -> None:
    sent, other, stray = Process("a"), Process("b"), Process("c", "green")
    order = for_some(command(1, "blue"), ["a"], "green", "ann", usual=None, holds=True)
    for process in (sent, other, stray):
        process.receives(command(1, "blue"), 0)
        process.policy.carried_out(command(1, "blue").fleet)
        process.receives(order, 1)
    assert [sent.switches(1), other.switches(1), stray.switches(1)] == ["green", "blue", "green"]


def test_an_order_for_one_holds_until_an_order_for_all() -> None:
    process = Process("a", "green")
    process.receives(for_some(None, ["a"], "green", "ann", usual="blue", holds=True), 0)
    process.switches(0)
    for now in range(60):
        process.observes({"b": "blue", "c": "blue"}, now)
        assert process.switches(now) == "green"
    process.receives(command(2, "blue"), 60)
    assert process.switches(60) == "blue"


# The majority


def observe_for(process: Process, places: Mapping[str, str | None], seconds: range) -> list[int]:
    """Observe the places at each second; return the times at which a new desired state is proposed."""
    times = []
    for now in seconds:
        process.observes(places, now)
        if process.policy.desired_by_majority(now) is not None:
            times.append(now)
    return times


def test_the_majority_of_five_seconds_becomes_desired() -> None:
    assert observe_for(Process("a"), {"b": "blue", "c": "green"}, range(8)) == [5, 6, 7]
    wanted = Process("a")
    observe_for(wanted, {}, range(6))
    found = wanted.policy.desired_by_majority(5)
    assert found is not None and (found.generation, found.fleet.label) == (1, "blue")


def test_a_tie_moves_nobody() -> None:
    process = Process("a", "green")
    assert observe_for(process, {"b": "blue", "c": "blue", "d": "green"}, range(60)) == []
    assert process.destination(60) is None


def test_a_process_without_a_cluster_counts_too() -> None:
    assert observe_for(Process("a"), {"b": None}, range(60)) == []


def test_the_minority_joins_the_majority() -> None:
    process = Process("a", "green")
    for now in range(5):
        process.observes({"b": "blue", "c": "blue"}, now)
        assert process.switches(now) == "green"
    process.observes({"b": "blue", "c": "blue"}, 5)
    assert process.switches(5) == "blue"


def test_the_minority_stays_while_it_cannot_reach_the_others() -> None:
    process = Process("a", "green", reach={"green"})
    observe_for(process, {"b": "blue", "c": "blue"}, range(60))
    assert process.destination(60) is None


def test_unreadable_clusters_restart_the_five_seconds() -> None:
    process = Process("a", "green")
    observe_for(process, {"b": "blue", "c": "blue"}, range(5))
    process.policy.forget_majority()
    observe_for(process, {"b": "blue", "c": "blue"}, range(5, 10))
    assert process.destination(9) is None


def test_a_process_with_an_unchanged_record_is_gone() -> None:
    process = Process("a")
    silent = WorkerRecord("b", "host", 1, "green", 1, (), heartbeat=7)
    for now in range(6):
        process.policy.observe([silent, process.record()], process.location, now)
        assert [record.id for record in process.policy.live(now)] == (["a", "b"] if now < 5 else ["a"])


def test_the_newest_of_several_records_counts() -> None:
    old = WorkerRecord("b", "host", 1, "blue", 1, (), heartbeat=3)
    new = WorkerRecord("b", "host", 1, "green", 2, (), heartbeat=4)
    for records in ([old, new], [new, old]):
        process = Process("a")
        process.policy.observe(records, process.location, 0)
        assert [record.current_cluster for record in process.policy.live(0)] == ["green"]


def test_a_cluster_that_is_back_attracts_nobody() -> None:
    """Not even after an earlier order to be there."""
    process = Process("a")
    process.receives(command(1, "blue"), 0)
    process.switches(0)
    observe_for(process, {"b": "blue", "c": "blue"}, range(10))
    process.current, process.reach = "green", frozenset({"green"})  # blue is lost
    observe_for(process, {"b": "green", "c": "green"}, range(10, 12))
    process.reach = BOTH
    wanted = None
    for now in range(12, 60):
        process.observes({"b": "green", "c": "green"}, now)
        assert process.switches(now) == "green"
        wanted = wanted or process.policy.desired_by_majority(now)
    assert wanted is not None and wanted.fleet.label == "green"


def test_an_order_has_five_seconds_before_the_majority_wins() -> None:
    process = Process("a", "green", reach={"green"})
    others = {"b": "green", "c": "green"}
    observe_for(process, others, range(20))
    process.receives(command(2, "blue"), 20)
    assert observe_for(process, others, range(20, 28)) == [25, 26, 27]


def test_a_majority_moves_only_those_that_see_it() -> None:
    process = Process("a", "green")
    observe_for(process, {"b": "green"}, range(10))
    process.receives(by_majority(command(8, "blue"), "blue"), 10)
    assert process.destination(10) is None


def test_a_flapping_process_joins_the_majority_less_often() -> None:
    process = Process("a", "green")
    joined = []
    for now in range(1200):
        process.observes({"b": "blue", "c": "blue"}, now)
        before, after = process.current, process.switches(now)
        if after != before:
            joined.append(now)
        elif after == "blue" and now % 2:
            process.current, process.reach = "green", frozenset({"green"})
        elif after == "green":
            process.reach = BOTH
    assert 4 < len(joined) < 10
    assert joined[-1] - joined[-2] > 5 * (joined[2] - joined[1])


# Splits


def test_each_lasting_split_is_reported_once() -> None:
    process = Process("a")
    reported = []
    for now in range(20):
        process.observes({"b": "green" if now < 8 or now >= 12 else "blue", "c": "blue"}, now)
        assert process.policy.is_split(now) == (now < 8 or now >= 12)
        if (split := process.policy.lasting_split(now)) is not None:
            reported.append((now, split))
    assert reported == [(2, {"blue": 2, "green": 1}), (14, {"blue": 2, "green": 1})]


# A whole fleet


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Process], list[tuple[float, str]]]:
    """Processes anywhere, each with clusters that it can reach, and commands at some times."""
    size = draw(st.integers(1, 6))
    processes = []
    for number in range(size):
        reach = draw(st.sampled_from([{"blue"}, {"green"}, {"blue", "green"}]))
        processes.append(Process(f"w{number}", draw(st.sampled_from(sorted(reach))), reach))
    commands = st.tuples(st.floats(0, 20), st.sampled_from(["blue", "green"]))
    return processes, draw(st.lists(commands, max_size=3))


@settings(max_examples=150, deadline=None)
@given(fleets())
def test_a_fleet_settles_with_everybody_on_the_majority(
    drawn: tuple[list[Process], list[tuple[float, str]]],
) -> None:
    """Whatever each process can reach, and whatever is commanded meanwhile."""
    processes, commands = drawn
    stores: dict[str, Desired | None] = {"blue": None, "green": None}
    moves: list[float] = []
    step = 1.0
    for tick in range(60):
        now = tick * step
        for at, label in commands:
            if now <= at < now + step:
                generation = max((store.generation for store in stores.values() if store), default=0) + 1
                stores["blue"] = stores["green"] = command(generation, label)
        records = {process.worker: process.record() for process in processes}
        for process in processes:
            before = process.current
            seen = [records[other.worker] for other in processes if process.reach & other.reach]
            process.policy.observe(seen, process.location, now)
            for label in process.reach:
                if (found := stores[label]) is not None:
                    process.receives(found, now)
            wanted = process.policy.desired_by_majority(now)
            if wanted is not None:
                process.receives(wanted, now)
            if process.policy.desired is not None:
                for label in process.reach:
                    if process.policy.desired.is_newer_than(stores[label]):
                        stores[label] = process.policy.desired
            process.switches(now)
            if process.current != before:
                moves.append(now)
    assert not moves or moves[-1] < 45, "it does not settle"
    assert len(moves) <= len(processes) * (len(commands) + 2), "it moves in a loop"
    for process in processes:
        places = [other.current for other in processes if process.reach & other.reach]
        for label in process.reach:
            most = 2 * places.count(label) > len(places)
            assert not most or process.current == label, (
                f"{process.worker} did not join the others on {label}"
            )
