"""Where a process that starts goes first, by what the clusters say at about the same time."""

from __future__ import annotations

import time

from flask_hazelcast_failover._fleet.initial_placement import InitialPlacement, preferred_label
from flask_hazelcast_failover._fleet.records import Desired, OrderSource, WorkerRecord, by_majority, for_all
from flask_hazelcast_failover._fleet.store import StoreSnapshot
from tests.support.calls import BackgroundCall
from tests.support.waiting import takes_less


def found(desired: Desired, *places: str) -> StoreSnapshot:
    workers = [WorkerRecord(f"w{n}", "host", n, place, 1) for n, place in enumerate(places)]
    entries = {f"worker/{worker.id}": worker.as_text() for worker in workers} | {"desired": desired.as_text()}
    return StoreSnapshot(list(entries.items()), 0.0)


def newcomer(*unlikely: str, longest: float = 1.0) -> InitialPlacement:
    return InitialPlacement(["blue", "green"], lambda: unlikely, longest)


def seconds_held_up(by: InitialPlacement) -> float:
    began = time.monotonic()
    assert by.hear("blue", None) is None
    return time.monotonic() - began


def test_a_cluster_that_has_just_come_back_waits_for_the_word_of_another() -> None:
    both = newcomer()
    empty = BackgroundCall(lambda: both.hear("blue", None))
    assert both.hear("green", "green") == "green"
    assert empty.wait().result == "green"


def test_nobody_waits_once_all_have_spoken() -> None:
    def both_speak() -> None:
        both = newcomer()
        first = BackgroundCall(lambda: both.hear("blue", None))
        assert both.hear("green", None) is None
        assert first.wait().result is None

    assert takes_less(0.2, both_speak)


def test_a_cluster_that_does_not_speak_holds_up_the_start_for_a_moment_only() -> None:
    assert 0.9 < seconds_held_up(newcomer()) < 3.0


def test_a_cluster_that_cannot_be_connected_to_holds_up_the_start_for_less() -> None:
    assert min(seconds_held_up(newcomer("green")) for _ in range(3)) < 0.9


def test_nobody_is_held_up_for_a_great_part_of_what_he_would_wait_at_all() -> None:
    assert min(seconds_held_up(newcomer(longest=0.4)) for _ in range(3)) < 0.9


def test_what_nobody_asked_for_follows_those_who_have_just_moved() -> None:
    moved = found(by_majority(None, "blue"), "green", "green", "blue")
    assert preferred_label(moved, trusts_the_past=True) == "green"


def test_what_somebody_asked_for_holds_while_the_others_are_on_their_way() -> None:
    asked = for_all(None, "green", "an operator", OrderSource.COMMAND)
    assert preferred_label(found(asked, "blue", "blue"), trusts_the_past=True) == "green"


def test_what_those_wanted_who_are_gone_holds_only_for_who_trusts_the_past() -> None:
    left = found(by_majority(None, "green"))
    assert preferred_label(left, trusts_the_past=True) == "green"
    assert preferred_label(left, trusts_the_past=False) is None
