"""Where a late starter begins, by what the clusters report at about the same time."""

from __future__ import annotations

import time

import pytest

from flask_hazelcast_failover._fleet.cluster_store import StoreSnapshot
from flask_hazelcast_failover._fleet.initial_placement import InitialPlacement, preferred_label
from flask_hazelcast_failover._fleet.records import Desired, OrderSource, WorkerRecord, by_majority, for_all
from tests.support.calls import BackgroundCall
from tests.support.waiting import takes_less


def snapshot(desired: Desired, *places: str) -> StoreSnapshot:
    workers = [WorkerRecord(f"w{n}", "host", n, place, 1) for n, place in enumerate(places)]
    entries = {f"worker/{worker.id}": worker.as_text() for worker in workers} | {"desired": desired.as_text()}
    return StoreSnapshot(list(entries.items()), 0.0)


def placement(*down: str, longest: float = 1.0) -> InitialPlacement:
    return InitialPlacement(["blue", "green"], lambda: down, longest)


def seconds_of_delay(placement: InitialPlacement) -> float:
    began = time.monotonic()
    assert placement.report("blue", None) is None
    return time.monotonic() - began


def test_an_empty_cluster_waits_for_anothers_report() -> None:
    both = placement()
    empty = BackgroundCall(lambda: both.report("blue", None))
    assert both.report("green", "green") == "green"
    assert empty.wait().result == "green"


@pytest.mark.timing
def test_no_wait_once_all_have_reported() -> None:
    def both_report() -> None:
        both = placement()
        first = BackgroundCall(lambda: both.report("blue", None))
        assert both.report("green", None) is None
        assert first.wait().result is None

    assert takes_less(0.2, both_report)


def test_a_missing_report_delays_the_start_by_a_second() -> None:
    assert 0.9 < seconds_of_delay(placement()) < 3.0


def test_a_cluster_that_is_down_delays_the_start_less() -> None:
    assert min(seconds_of_delay(placement("green")) for _ in range(3)) < 0.9


def test_short_timeouts_shorten_the_delay() -> None:
    assert min(seconds_of_delay(placement(longest=0.4)) for _ in range(3)) < 0.9


def test_a_majority_order_follows_those_that_have_just_moved() -> None:
    moved = snapshot(by_majority(None, "blue"), "green", "green", "blue")
    assert preferred_label(moved, trusts_past=True) == "green"


def test_a_command_holds_before_the_others_have_arrived() -> None:
    asked = for_all(None, "green", "an operator", OrderSource.COMMAND)
    assert preferred_label(snapshot(asked, "blue", "blue"), trusts_past=True) == "green"


def test_orders_of_a_past_fleet_need_trust() -> None:
    left = snapshot(by_majority(None, "green"))
    assert preferred_label(left, trusts_past=True) == "green"
    assert preferred_label(left, trusts_past=False) is None
