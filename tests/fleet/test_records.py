"""What is read from a fleet's map: every field is checked, and what a later release adds is ignored."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_hazelcast_failover._fleet.cluster_store import StoreSnapshot
from flask_hazelcast_failover._fleet.policy import FleetPolicy, Location
from flask_hazelcast_failover._fleet.records import (
    HIGHEST,
    AtHighest,
    Desired,
    HighestGeneration,
    MalformedRecord,
    OrderSource,
    ReachabilityAnswer,
    ReachabilityQuestion,
    WorkerRecord,
    for_all,
    for_some,
)

RECORD = ["a-1", "host", 7, "blue", 3, ["blue", "green"], 12, False, [["q", True]]]
DESIRED: list[Any] = [4, [4, "green", "ann", 3, True], {"a-1": [2, "blue", "ann", 3, False]}]
QUESTION = ["q", "green", ["a-1"]]

# Instead of a name, a number, a whole record.
BAD_NAMES: list[Any] = [None, 7, "", "x" * 257, "a\nb", "\ud800", "\x1b[31m", ["a"], {}]
BAD_NUMBERS: list[Any] = [None, True, 1.5, -1, HIGHEST + 1, int("9" * 4300), float("inf"), "7", []]
NO_RECORDS = [
    "",
    "{",
    "5",
    "null",
    "[]",
    "[" * 100_000,
    "1e999",
    '"' + "x" * 10**6 + '"',
    None,
    7,
    b"[]",
    object(),
]


def with_field(values: list[Any], index: int, value: object) -> str:
    return json.dumps([*values[:index], value, *values[index + 1 :]])


def later(value: Any) -> Any:
    """What a later release may write: every list has a field more."""
    if isinstance(value, dict):
        return {key: later(inner) for key, inner in value.items()}
    return [*map(later, value), "later"] if isinstance(value, list) else value


@pytest.mark.parametrize("text", NO_RECORDS, ids=range(len(NO_RECORDS)))
@pytest.mark.parametrize("kind", [Desired, WorkerRecord, ReachabilityQuestion])
def test_what_is_no_record_is_malformed(kind: Any, text: object) -> None:
    with pytest.raises(MalformedRecord):
        kind.from_text(text)


@pytest.mark.parametrize("index", [0, 1, 3])
@pytest.mark.parametrize("name", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_the_names_of_a_worker_are_checked(index: int, name: object) -> None:
    if (index, name) == (3, None):
        return  # it is on no cluster
    with pytest.raises(MalformedRecord):
        WorkerRecord.from_text(with_field(RECORD, index, name))


@pytest.mark.parametrize("index", [2, 4, 6])
@pytest.mark.parametrize("number", BAD_NUMBERS, ids=range(len(BAD_NUMBERS)))
def test_the_numbers_of_a_worker_are_checked(index: int, number: object) -> None:
    with pytest.raises(MalformedRecord):
        WorkerRecord.from_text(with_field(RECORD, index, number))


@pytest.mark.parametrize("number", BAD_NUMBERS, ids=range(len(BAD_NUMBERS)))
def test_the_generation_of_a_desired_state_is_checked(number: object) -> None:
    with pytest.raises(MalformedRecord):
        Desired.from_text(with_field(DESIRED, 0, number))


@pytest.mark.parametrize(
    "order",
    [None, [], 7, {}]
    + [[number, *DESIRED[1][1:]] for number in BAD_NUMBERS]
    + [[*DESIRED[1][:3], number, True] for number in BAD_NUMBERS]
    + [[4, name, "ann", 3, True] for name in BAD_NAMES if name is not None]
    + [[4, "green", name, 3, True] for name in BAD_NAMES],
)
def test_an_order_that_cannot_be_read_binds_nobody(order: object) -> None:
    """Its generation counts all the same, so that no process of this release overwrites it."""
    desired = Desired.from_text(with_field(DESIRED, 1, order))
    assert not desired.fleet.is_binding and desired.fleet.label is None
    assert desired.is_newer_than(Desired.from_text(json.dumps([3, *DESIRED[1:]])))


def test_an_item_that_cannot_be_read_hides_no_other() -> None:
    record = WorkerRecord.from_text(with_field(RECORD, 8, [["q", True], 7, ["\n", True], ["r", False]]))
    assert record.answers == (ReachabilityAnswer("q", True), ReachabilityAnswer("r", False))
    desired = Desired.from_text(with_field(DESIRED, 2, {"a": [1], "b": DESIRED[1]}))
    assert list(desired.overrides) == ["b"]


def test_trailing_fields_are_ignored_at_every_level() -> None:
    for kind, values in ((Desired, DESIRED), (WorkerRecord, RECORD), (ReachabilityQuestion, QUESTION)):
        parse: Callable[[str], Any] = kind.from_text
        known, more = parse(json.dumps(values)), parse(json.dumps(later(values)))
        if isinstance(known, Desired):
            assert known == more and not more.is_newer_than(known) and not known.is_newer_than(more)
        else:
            assert known.id == more.id


def test_a_desired_state_is_passed_on_as_it_was_read() -> None:
    text = json.dumps(later(DESIRED))
    assert Desired.from_text(text).as_text() == text


def test_an_unknown_source_binds_nobody_and_ranks_as_written() -> None:
    unknown = Desired.from_text(with_field(DESIRED, 1, [4, "blue", "bob", 9, True]))
    known = Desired.from_text(json.dumps(DESIRED))
    assert not unknown.fleet.is_binding and known.fleet.is_binding
    assert unknown.is_newer_than(known) and not known.is_newer_than(unknown)


class TestTheHighestGeneration:
    last = for_all(None, "blue", "ann", OrderSource.COMMAND)
    highest = Desired.from_text(with_field(DESIRED, 0, HIGHEST))

    def test_it_is_followed_by_none_unless_forced(self) -> None:
        with pytest.raises(HighestGeneration):
            for_all(self.highest, "blue", "ann", OrderSource.COMMAND)
        forced = for_all(self.highest, "blue", "ann", OrderSource.COMMAND, at_highest=AtHighest.BEGIN_AGAIN)
        assert forced.generation == 1
        assert forced.is_newer_than(self.highest) and not self.highest.is_newer_than(forced)
        assert Desired.from_text(forced.as_text()) == forced

    def test_a_new_round_outlives_the_generations_of_the_last_one(self) -> None:
        forced = for_some(
            self.highest,
            ["b-2"],
            "blue",
            "ann",
            usual=None,
            holds=False,
            at_highest=AtHighest.BEGIN_AGAIN,
        )
        assert list(forced.overrides) == ["b-2"] and forced.fleet.generation == 0
        following = for_all(forced, "green", "ann", OrderSource.COMMAND)
        assert following.generation == 2
        assert following.is_newer_than(forced) and following.is_newer_than(self.highest)

    def test_a_worker_follows_into_a_new_round(self) -> None:
        policy = FleetPolicy()
        policy.receive(self.highest, "a-1", 0)
        policy.carried_out(self.highest.order_for("a-1"))
        forced = for_all(self.highest, "red", "ann", OrderSource.COMMAND, at_highest=AtHighest.BEGIN_AGAIN)
        assert policy.receive(forced, "a-1", 1) and policy.has_pending_order


def record(heartbeat: int, cluster: str = "blue") -> WorkerRecord:
    return WorkerRecord("a-1", "host", 7, cluster, 1, (), heartbeat)


def test_a_forged_heartbeat_hides_no_worker() -> None:
    policy = FleetPolicy()
    here = Location("b", "blue", frozenset({"blue"}))
    for now in range(20):
        policy.observe([record(HIGHEST, "red"), record(now)], here, now)
    assert [one.current_cluster for one in policy.live(20)] == ["blue"]
    policy.observe([record(20)], here, 21)
    assert [one.heartbeat for one in policy.live(25)] == [20]


def test_a_worker_whose_record_was_overwritten_has_not_gone_at_once() -> None:
    policy, here = FleetPolicy(), Location("b", "blue", frozenset({"blue"}))
    policy.observe([record(1)], here, 0)
    snapshot = StoreSnapshot([("worker/a-1", "{")], 1.0)
    policy.observe([], here, 1, snapshot.unreadable_workers)
    assert [one.id for one in policy.live(4)] == ["a-1"] and policy.live(6) == []
    policy.observe([], here, 2)
    assert policy.live(2) == []


def test_a_heartbeat_that_falls_is_life_too() -> None:
    policy = FleetPolicy()
    for now, heartbeat in enumerate(range(20, 0, -1)):
        policy.observe([record(heartbeat)], Location("b", "blue", frozenset()), now)
    assert len(policy.live(20)) == 1


def test_each_entry_is_read_on_its_own() -> None:
    entries: list[tuple[object, object]] = [
        ("desired", json.dumps(DESIRED)),
        ("worker/a-1", json.dumps(RECORD)),
        ("worker/other", json.dumps(RECORD)),
        ("question/q", json.dumps(QUESTION)),
        ("question/r", json.dumps(QUESTION)),
        ("history/7", object()),
        ("\x1b[0m", "a later release's"),
        (object(), "a"),
        ("arrived", "x" * 10**6),
        *((f"worker/{index}", text) for index, text in enumerate(NO_RECORDS)),
    ]
    random.Random(7).shuffle(entries)
    snapshot = StoreSnapshot(entries, 0.0)
    assert [one.id for one in snapshot.records] == ["a-1"]
    assert [one.id for one in snapshot.questions] == ["q"]
    assert snapshot.desired == Desired.from_text(json.dumps(DESIRED)) and snapshot.arrival is None
    assert len(snapshot.unreadable) == len(NO_RECORDS) + 4


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(0, 5)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc"])),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(
    st.sampled_from(["desired", "arrived", "worker/a-1", "question/q", "bell", "history/1"])
    | st.text()
    | st.none(),
    json_values.map(json.dumps) | st.text() | st.binary() | st.none(),
)
def test_whatever_is_stored_makes_a_snapshot(key: object, value: object) -> None:
    """Nothing that was read can fail later: it can be shown, stored and followed."""
    snapshot = StoreSnapshot([(key, value)], 0.0)
    json.dumps([one.as_dict() for one in snapshot.records]).encode()
    policy = FleetPolicy()
    policy.observe(snapshot.records, Location("b", "blue", frozenset({"blue"})), 0.0)
    if snapshot.desired is not None:
        policy.receive(snapshot.desired, "a-1", 0.0)
        json.dumps(policy.desired and policy.desired.as_dict()).encode()
        assert Desired.from_text(snapshot.desired.as_text()) == snapshot.desired
    "".join(snapshot.unreadable).encode()


@given(st.sampled_from([RECORD, DESIRED, QUESTION]), st.data())
def test_one_field_of_another_kind_harms_no_reader(values: list[Any], data: st.DataObject) -> None:
    changed = list(values)
    changed[data.draw(st.integers(0, len(values) - 1))] = data.draw(json_values)
    test_whatever_is_stored_makes_a_snapshot.hypothesis.inner_test(  # type: ignore[attr-defined]
        data.draw(st.sampled_from(["desired", "worker/a-1", "question/q"])), json.dumps(changed)
    )
