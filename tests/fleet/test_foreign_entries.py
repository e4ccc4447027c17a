"""What others write into the fleet's map does not run in any process, nor on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from flask_hazelcast_failover._fleet.cluster_store import ARRIVED, map_name
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import client_of, make_app
from tests.support.fleet import Start, together
from tests.support.foreign_entries import Payload, official_client_on
from tests.support.waiting import eventually

# What the workers read: the desired state; a question's bell, a record, a question, the first arrival.
DESIRED = "desired"
OTHERS = ["bell", "worker/intruder", "question/intruder", ARRIVED, "intruder"]


def test_pickled_values_run_in_no_process(
    blue: LocalCluster, green: LocalCluster, start: Start, tmp_path: Path
) -> None:
    payload, fleet = Payload(tmp_path / "ran"), "pickled-values"
    with official_client_on(blue) as one, official_client_on(green) as other:
        first, second = (start(blue, green, FLEET=fleet) for _ in range(2))
        together(first, second)
        for intruder in one, other:
            for key in OTHERS:
                intruder.get_map(map_name(fleet)).blocking().set(key, payload)
        third = start(blue, green, FLEET=fleet)
        together(first, second, third)
        third.client.switch_to("green")
        eventually(lambda: {one.place[0] for one in (first, second, third)} == {"green"})
    assert not payload.has_run()


def test_a_pickled_desired_state_runs_in_no_process(blue: LocalCluster, start: Start, tmp_path: Path) -> None:
    payload, fleet = Payload(tmp_path / "ran"), "pickled-desired"
    with official_client_on(blue) as intruder:
        first = start(blue, FLEET=fleet)
        for _ in range(2):  # added, then updated
            intruder.get_map(map_name(fleet)).blocking().set(DESIRED, payload)
        second = start(blue, FLEET=fleet)
        together(first, second)
        assert first.fleet["desired"] is None
    assert not payload.has_run()


def test_a_pickled_key_runs_in_no_process(
    blue: LocalCluster, green: LocalCluster, start: Start, tmp_path: Path
) -> None:
    payload, fleet = Payload(tmp_path / "ran"), "pickled-key"
    with official_client_on(blue) as intruder:
        intruder.get_map(map_name(fleet)).blocking().set(payload, payload)
        first, second = (start(blue, green, FLEET=fleet) for _ in range(2))
        together(first, second)
        first.client.switch_to("green")
        eventually(lambda: second.place[0] == "green")
        first.client.reset()
        eventually(lambda: second.place[0] == "blue")
    assert not payload.has_run()


def test_a_pickled_entry_does_not_run_on_the_command_line(
    blue: LocalCluster, green: LocalCluster, start: Start, tmp_path: Path
) -> None:
    payload, fleet = Payload(tmp_path / "ran"), "pickled-status"
    process = start(blue, green, FLEET=fleet)
    together(process)
    app = make_app(blue, green, FLEET=fleet)
    with official_client_on(blue) as intruder, client_of(app):
        foreign = intruder.get_map(map_name(fleet)).blocking()
        for key in [DESIRED, *OTHERS, payload]:
            foreign.set(key, payload)
        status = app.test_cli_runner().invoke(args=["hazelcast", "status", "--json"])
    found = json.loads(status.output)
    assert [worker["id"] for worker in found["fleet"]["workers"]] == [process.id]
    assert not payload.has_run()
