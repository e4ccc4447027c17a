"""Whoever writes to the fleet's map, and whichever release runs beside this one, the fleet stays whole."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hazelcast.client import HazelcastClient as OfficialClient

from flask_hazelcast_failover._fleet.cluster_store import StoreSnapshot, map_name
from flask_hazelcast_failover._fleet.fleet_store import FleetStore
from flask_hazelcast_failover._fleet.records import HIGHEST, Desired, WorkerRecord
from flask_hazelcast_failover.testing import LocalCluster
from tests.fleet.test_records import NO_RECORDS, RECORD, later
from tests.support.admin import BEARER
from tests.support.fleet import Process, Start, together
from tests.support.waiting import eventually


@contextmanager
def fleet_map(cluster: LocalCluster, fleet: str) -> Iterator[Any]:
    """Give a fleet's map as an official client sees it."""
    client = OfficialClient(cluster_name=cluster.name, cluster_members=cluster.addresses)
    try:
        yield client.get_map(map_name(fleet)).blocking()
    finally:
        client.shutdown()


def desired(generation: int, label: str, source: int = 3) -> list[Any]:
    return [generation, [generation, label, "ann", source, False], {}]


class BadEntry:
    """Is stored as a pickle of a class that no other process has."""


@pytest.mark.parametrize(
    "value",
    [*NO_RECORDS[5:8], 7, {1, 2}, json.dumps(["x", "\ud800", *RECORD[2:]]), BadEntry()],
    ids=["nested", "infinite", "long", "int", "set", "surrogate", "pickle"],
)
def test_one_bad_entry_is_skipped_with_one_warning(
    value: object, blue: LocalCluster, green: LocalCluster, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    one, other = (start(blue, green, FLEET=f"bad-{id(value)}") for _ in range(2))
    together(one, other)
    with fleet_map(blue, one.fleet["name"]) as entries:
        entries.put("worker/x", value, ttl=60)
        eventually(lambda: "worker/x" in caplog.text)
        assert set(one.seen) == {one.id, other.id}
        answer = one.post("switch", cluster="green")
        assert (answer.status_code, answer.get_json()["missing"]) == (200, [])
        assert [process.place[0] for process in (one, other)] == ["green", "green"]
        assert one.visitor.get("/hazelcast/", headers=BEARER).status_code == 200
        assert one.flask_app.test_cli_runner().invoke(args=["hazelcast", "status"]).exit_code == 0
        warnings = [line for line in caplog.messages if "worker/x" in line]
        assert len(warnings) == 2, "one in each process"
        entries.delete("worker/x")


@pytest.mark.parametrize("forged", [HIGHEST, 10**30])
def test_a_forged_heartbeat_hides_no_worker(
    forged: int, blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    one, other = (start(blue, green, FLEET=f"forged-{forged}") for _ in range(2))
    together(one, other)
    with fleet_map(blue, one.fleet["name"]) as entries:
        record = WorkerRecord.from_text(entries.get(f"worker/{other.id}"))
        values = json.loads(record.as_text())
        values[6] = forged
        end = time.monotonic() + 6
        while time.monotonic() < end:
            entries.set(f"worker/{other.id}", json.dumps(values))
            assert other.id in one.seen
            time.sleep(0.1)
        eventually(lambda: other.id in one.seen)


def test_overwriting_a_record_hides_no_worker(blue: LocalCluster, green: LocalCluster, start: Start) -> None:
    one, other = (start(blue, green, FLEET="overwritten") for _ in range(2))
    together(one, other)
    with fleet_map(blue, "overwritten") as on_blue, fleet_map(green, "overwritten") as on_green:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for entries in (on_blue, on_green):
                entries.set(f"worker/{other.id}", "{", ttl=5)
            assert other.id in one.seen
            time.sleep(0.2)
        answer = one.post("switch", cluster="green").get_json()
        assert answer["told"] == sorted([one.id, other.id])


def test_what_cannot_be_read_is_overwritten_twice_a_second_at_most(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    process = start(blue, green, FLEET="unreadable")
    process.post("reset")
    with fleet_map(blue, "unreadable") as entries:
        written: list[str] = []
        entries.add_entry_listener(
            key="desired",
            include_value=True,
            updated_func=lambda event: written.append(event.value) if event.value != "{" else None,
        )
        end = time.monotonic() + 3
        while time.monotonic() < end:
            entries.set("desired", "{")
            time.sleep(0.02)
        assert 3 <= len(written) <= 7
        eventually(lambda: entries.get("desired") != "{")
        assert Desired.from_text(entries.get("desired")).generation == 1


def test_a_generation_at_the_highest_does_not_end_all_orders(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    one, other = (start(blue, green, FLEET="highest") for _ in range(2))
    together(one, other)
    with fleet_map(blue, "highest") as entries:
        entries.put("desired", json.dumps(desired(HIGHEST, "green")))
    eventually(lambda: one.place[0] == other.place[0] == "green")
    refused = one.post("reset")
    assert refused.status_code == 409 and "force" in refused.get_json()["detail"]
    forced = one.post("reset", force=True).get_json()
    assert (forced["generation"], forced["missing"]) == (1, [])
    assert other.post("switch", cluster="green").get_json()["generation"] == 2
    eventually(lambda: one.place[0] == other.place[0] == "green")


def test_a_process_that_cannot_read_the_fleet_does_not_act_as_if_alone(
    blue: LocalCluster, green: LocalCluster, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(blue, green, FLEET="silent")

    def fail(*_: object) -> list[StoreSnapshot]:
        return []

    monkeypatch.setattr(FleetStore, "read", fail)
    refused = process.post("switch", cluster="green")
    assert refused.status_code == 409 and "cannot be read" in refused.get_json()["detail"]
    assert process.place[0] == "blue"
    assert process.post("switch", cluster="green", force=True).status_code == 200
    assert process.place[0] == "green"


class LaterRelease:
    """A process of a later release, whose records have a field more at every level."""

    def __init__(self, clusters: dict[str, Any]) -> None:
        self.maps = clusters

    def beat(self, heartbeat: int, cluster: str) -> None:
        record = ["later-1", "host", 7, cluster, 1, ["blue", "green"], heartbeat, False, []]
        for entries in self.maps.values():
            entries.set("worker/later-1", json.dumps(later(record)), ttl=5)

    def order(self, generation: int, label: str) -> str:
        text = json.dumps(later(desired(generation, label)))
        for entries in self.maps.values():
            entries.set("desired", text)
        return text


def test_a_rolling_upgrade_and_a_downgrade_leave_one_story(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    """This release follows a later one's orders and does not rewrite them; the later one follows this one's."""
    process: Process = start(blue, green, FLEET="releases")
    with fleet_map(blue, "releases") as on_blue, fleet_map(green, "releases") as on_green:
        upgraded = LaterRelease({"blue": on_blue, "green": on_green})
        upgraded.beat(1, "blue")
        eventually(lambda: "later-1" in process.seen)
        text = upgraded.order(5, "green")
        eventually(lambda: process.place[0] == "green", within=1)
        upgraded.beat(2, "green")
        written: list[object] = []
        on_blue.add_entry_listener(key="desired", updated_func=written.append, added_func=written.append)
        for heartbeat in range(3, 8):
            upgraded.beat(heartbeat, "green")
            time.sleep(0.3)
        assert written == [] and on_blue.get("desired") == on_green.get("desired") == text
        assert process.desired["generation"] == 5
        # Back to this release: its order is newer, and is not fought over.
        answer = process.post("switch", cluster="blue", workers=[process.id]).get_json()
        assert (answer["generation"], answer["missing"]) == (6, [])
        eventually(
            lambda: json.loads(on_blue.get("desired"))[0] == 6 == json.loads(on_green.get("desired"))[0]
        )
        time.sleep(1)
        assert len(written) <= 2


def test_an_unknown_source_moves_nobody_and_is_kept(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    process = start(blue, green, FLEET="sources")
    text = json.dumps(later([7, [7, "green", "bob", 9, False], {}]))
    with fleet_map(blue, "sources") as on_blue, fleet_map(green, "sources") as on_green:
        on_blue.set("desired", text)
        on_green.set("desired", text)
        eventually(lambda: process.desired.get("generation") == 7)
        time.sleep(1)
        assert on_blue.get("desired") == on_green.get("desired") == text
        assert process.place == ("blue", 1)
