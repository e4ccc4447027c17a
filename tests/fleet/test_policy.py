"""What a process decides from what it sees of its fleet, without any cluster: time is a number here."""

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
        self.beats = 0

    @property
    def location(self) -> Location:
        return Location(self.worker, self.current, self.reach)

    def record(self) -> WorkerRecord:
        self.beats += 1
        return WorkerRecord(self.worker, "host", 1, self.current, 1, tuple(sorted(self.reach)), self.beats)

    def sees(self, places: Mapping[str, str | None], now: float) -> None:
        """See others, each alive, and itself."""
        others = [
            WorkerRecord(worker, "host", 1, current, 1, ("blue", "green"), heartbeat=int(now * 1000) + 1)
            for worker, current in places.items()
        ]
        self.policy.observe([*others, self.record()], self.location, now)

    def hears(self, desired: Desired, now: float) -> bool:
        return self.policy.receive(desired, self.worker, now)

    def destination(self, now: float) -> Destination | None:
        return self.policy.destination(self.location, now)

    def goes(self, now: float) -> str | None:
        """Go where the policy say; gives the place."""
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


# What is wanted


def test_the_highest_generation_wins_and_a_command_over_a_majority_of_the_same() -> None:
    asked, counted = command(3, "blue"), by_majority(command(2, "blue"), "green")
    assert asked.generation == counted.generation == 3
    assert asked.is_newer_than(counted) and not counted.is_newer_than(asked)
    assert command(4, "blue").is_newer_than(asked) and not asked.is_newer_than(asked)
    assert asked.is_newer_than(None)


def test_every_process_that_sees_the_majority_writes_the_same() -> None:
    last = for_some(command(2, "blue"), ["a"], "green", "ann", usual=None, holds=True)
    assert by_majority(last, "green").as_text() == by_majority(last, "green").as_text()
    assert by_majority(last, "red").order_for("a").label == "green"
    assert by_majority(last, "green").overrides == {}


@pytest.mark.parametrize(
    "desired",
    [command(3, "grün"), for_some(command(2, "blue"), ["a", "b"], "green", "ann", usual=None, holds=False)],
)
def test_what_is_wanted_survives_being_written(desired: Desired) -> None:
    assert Desired.from_text(desired.as_text()) == desired


def test_a_record_survives_being_written() -> None:
    record = WorkerRecord("a-1", "host", 7, None, 3, ("blue", "green"), 12)
    found = WorkerRecord.from_text(record.as_text())
    assert found == record and found is not None and found.heartbeat == 12


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "5", "null", None, 7, "[1, [2], {}]", '["a", 1, 2, 3, 4, 5, 6]']
)
def test_what_another_version_has_left_is_passed_over(text: object) -> None:
    assert Desired.from_text(text) is None
    assert WorkerRecord.from_text(text) is None


# Orders


def test_an_order_moves_a_process_once() -> None:
    process = Process("a")
    process.sees({"b": "blue"}, 0)
    assert process.hears(command(1, "green"), 0) and not process.hears(command(1, "green"), 1)
    assert process.goes(0) == "green"
    process.current = "blue"  # green was lost
    process.sees({"b": "green"}, 1)
    assert process.destination(100) is None


def test_an_order_that_cannot_be_followed_is_tried_again_later_and_later() -> None:
    process = Process("a", reach={"blue"})
    process.hears(command(1, "green"), 0)
    tried = []
    for now in range(200):
        process.sees({"b": "green", "c": "blue"}, now)
        if process.destination(now) is not None:
            tried.append(now)
            process.goes(now)
    assert tried == [0, 2, 6, 14, 30, 62, 122, 182]


def test_an_order_is_followed_as_soon_as_the_cluster_can_be_reached() -> None:
    process = Process("a", reach={"blue"})
    process.hears(command(1, "green"), 0)
    process.goes(0)
    process.reach = BOTH
    process.sees({"b": "green", "c": "blue"}, 0.1)
    assert process.goes(0.1) == "green"


def test_an_order_for_some_leaves_the_others_in_peace() -> None:
    told, other, stray = Process("a"), Process("b"), Process("c", "green")
    wish = for_some(command(1, "blue"), ["a"], "green", "ann", usual=None, holds=True)
    for process in (told, other, stray):
        process.hears(command(1, "blue"), 0)
        process.policy.carried_out(command(1, "blue").fleet)
        process.hears(wish, 1)
    assert [told.goes(1), other.goes(1), stray.goes(1)] == ["green", "blue", "green"]


def test_who_was_sent_apart_stays_there_until_all_are_told() -> None:
    process = Process("a", "green")
    process.hears(for_some(None, ["a"], "green", "ann", usual="blue", holds=True), 0)
    process.goes(0)
    for now in range(60):
        process.sees({"b": "blue", "c": "blue"}, now)
        assert process.goes(now) == "green"
    process.hears(command(2, "blue"), 60)
    assert process.goes(60) == "blue"


# The majority


def watch(process: Process, places: Mapping[str, str | None], seconds: range) -> list[int]:
    """When the process would write what is wanted."""
    times = []
    for now in seconds:
        process.sees(places, now)
        if process.policy.desired_by_majority(now) is not None:
            times.append(now)
    return times


def test_where_the_majority_is_for_five_seconds_is_wanted() -> None:
    assert watch(Process("a"), {"b": "blue", "c": "green"}, range(8)) == [5, 6, 7]
    wanted = Process("a")
    watch(wanted, {}, range(6))
    found = wanted.policy.desired_by_majority(5)
    assert found is not None and (found.generation, found.fleet.label) == (1, "blue")


def test_a_tie_moves_nobody_and_is_wanted_by_nobody() -> None:
    process = Process("a", "green")
    assert watch(process, {"b": "blue", "c": "blue", "d": "green"}, range(60)) == []
    assert process.destination(60) is None


def test_who_is_nowhere_counts_as_a_process_all_the_same() -> None:
    assert watch(Process("a"), {"b": None}, range(60)) == []


def test_a_process_in_the_minority_joins_the_others() -> None:
    process = Process("a", "green")
    for now in range(5):
        process.sees({"b": "blue", "c": "blue"}, now)
        assert process.goes(now) == "green"
    process.sees({"b": "blue", "c": "blue"}, 5)
    assert process.goes(5) == "blue"


def test_a_process_in_the_minority_stays_while_it_cannot_reach_the_others() -> None:
    process = Process("a", "green", reach={"green"})
    watch(process, {"b": "blue", "c": "blue"}, range(60))
    assert process.destination(60) is None


def test_a_doubt_begins_the_five_seconds_anew() -> None:
    process = Process("a", "green")
    watch(process, {"b": "blue", "c": "blue"}, range(5))
    process.policy.forget_majority()
    watch(process, {"b": "blue", "c": "blue"}, range(5, 10))
    assert process.destination(9) is None


def test_a_process_whose_record_does_not_change_is_gone() -> None:
    process = Process("a")
    silent = WorkerRecord("b", "host", 1, "green", 1, (), heartbeat=7)
    for now in range(6):
        process.policy.observe([silent, process.record()], process.location, now)
        assert [record.id for record in process.policy.live(now)] == (["a", "b"] if now < 5 else ["a"])


def test_of_a_record_on_several_clusters_the_newest_counts() -> None:
    old = WorkerRecord("b", "host", 1, "blue", 1, (), heartbeat=3)
    new = WorkerRecord("b", "host", 1, "green", 2, (), heartbeat=4)
    for records in ([old, new], [new, old]):
        process = Process("a")
        process.policy.observe(records, process.location, 0)
        assert [record.current_cluster for record in process.policy.live(0)] == ["green"]


def test_a_cluster_that_all_have_lost_and_that_is_back_pulls_nobody_back() -> None:
    process = Process("a")
    process.hears(command(1, "blue"), 0)
    process.goes(0)
    watch(process, {"b": "blue", "c": "blue"}, range(10))
    process.current, process.reach = "green", frozenset({"green"})  # blue is lost
    watch(process, {"b": "green", "c": "green"}, range(10, 12))
    process.reach = BOTH
    wanted = None
    for now in range(12, 60):
        process.sees({"b": "green", "c": "green"}, now)
        assert process.goes(now) == "green"
        wanted = wanted or process.policy.desired_by_majority(now)
    assert wanted is not None and wanted.fleet.label == "green"


def test_an_order_has_five_seconds_before_the_majority_overrides_it() -> None:
    process = Process("a", "green", reach={"green"})
    others = {"b": "green", "c": "green"}
    watch(process, others, range(20))
    process.hears(command(2, "blue"), 20)
    assert watch(process, others, range(20, 28)) == [25, 26, 27]


def test_what_a_majority_wants_moves_nobody_who_does_not_see_it() -> None:
    process = Process("a", "green")
    watch(process, {"b": "green"}, range(10))
    process.hears(by_majority(command(8, "blue"), "blue"), 10)
    assert process.destination(10) is None


def test_a_process_that_loses_the_cluster_again_and_again_joins_the_others_less_and_less_often() -> None:
    process = Process("a", "green")
    joined = []
    for now in range(1200):
        process.sees({"b": "blue", "c": "blue"}, now)
        before, after = process.current, process.goes(now)
        if after != before:
            joined.append(now)
        elif after == "blue" and now % 2:
            process.current, process.reach = "green", frozenset({"green"})
        elif after == "green":
            process.reach = BOTH
    assert 4 < len(joined) < 10
    assert joined[-1] - joined[-2] > 5 * (joined[2] - joined[1])


# Being split


def test_a_split_that_lasts_is_told_once_and_another_one_again() -> None:
    process = Process("a")
    told = []
    for now in range(20):
        process.sees({"b": "green" if now < 8 or now >= 12 else "blue", "c": "blue"}, now)
        assert process.policy.is_split(now) == (now < 8 or now >= 12)
        if (split := process.policy.lasting_split(now)) is not None:
            told.append((now, split))
    assert told == [(2, {"blue": 2, "green": 1}), (14, {"blue": 2, "green": 1})]


# All together


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Process], list[tuple[float, str]]]:
    """Processes anywhere, each with clusters that it can reach, and commands at some times."""
    size = draw(st.integers(1, 6))
    processes = []
    for number in range(size):
        reach = draw(st.sampled_from([{"blue"}, {"green"}, {"blue", "green"}]))
        processes.append(Process(f"w{number}", draw(st.sampled_from(sorted(reach))), reach))
    wishes = st.tuples(st.floats(0, 20), st.sampled_from(["blue", "green"]))
    return processes, draw(st.lists(wishes, max_size=3))


@settings(max_examples=150, deadline=None)
@given(fleets())
def test_a_fleet_comes_to_rest_and_never_where_somebody_could_still_join_the_rest(
    drawn: tuple[list[Process], list[tuple[float, str]]],
) -> None:
    processes, wishes = drawn
    boards: dict[str, Desired | None] = {"blue": None, "green": None}
    moves: list[float] = []
    step = 1.0
    for tick in range(60):
        now = tick * step
        for at, label in wishes:
            if now <= at < now + step:
                generation = max((board.generation for board in boards.values() if board), default=0) + 1
                boards["blue"] = boards["green"] = command(generation, label)
        records = {process.worker: process.record() for process in processes}
        for process in processes:
            before = process.current
            seen = [records[other.worker] for other in processes if process.reach & other.reach]
            process.policy.observe(seen, process.location, now)
            for label in process.reach:
                if (heard := boards[label]) is not None:
                    process.hears(heard, now)
            wanted = process.policy.desired_by_majority(now)
            if wanted is not None:
                process.hears(wanted, now)
            if process.policy.desired is not None:
                for label in process.reach:
                    if process.policy.desired.is_newer_than(boards[label]):
                        boards[label] = process.policy.desired
            process.goes(now)
            if process.current != before:
                moves.append(now)
    assert not moves or moves[-1] < 45, "it does not come to rest"
    assert len(moves) <= len(processes) * (len(wishes) + 2), "it moves in a loop"
    for process in processes:
        places = [other.current for other in processes if process.reach & other.reach]
        for label in process.reach:
            most = 2 * places.count(label) > len(places)
            assert not most or process.current == label, (
                f"{process.worker} did not join the others on {label}"
            )
