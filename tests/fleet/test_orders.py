"""Commands to switch: all processes of a fleet follow, or nothing changes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_hazelcast_failover import ClientOfflineException
from flask_hazelcast_failover._fleet.command_runner import CommandRunner
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.admin import assert_problem
from tests.support.apps import absent
from tests.support.fair_time import fair_time
from tests.support.fleet import Start, together
from tests.support.waiting import eventually


def test_client_switch_and_reset_move_the_whole_fleet(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    processes = [start(blue, green, FLEET="whole") for _ in range(3)]
    together(*processes)
    processes[1].client.switch_to("green")
    eventually(lambda: [process.place for process in processes] == [("green", 2)] * 3, within=1)
    processes[2].client.reset()
    eventually(lambda: [process.place for process in processes] == [("blue", 3)] * 3, within=1)
    reasons = [process.client.status().history[-1].reason for process in processes]
    assert reasons == ["fleet", "fleet", "manual"]


def test_a_command_that_another_has_overtaken_is_void(
    blue: LocalCluster, green: LocalCluster, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command does not switch its process again once a later command has moved it on."""
    one, other = (start(blue, green, FLEET="overtaken") for _ in range(2))
    together(one, other)
    followed = CommandRunner._wait_for_arrival

    def late(*arguments: Any) -> tuple[str, ...]:
        monkeypatch.undo()
        other.client.reset()
        return followed(*arguments)

    monkeypatch.setattr(CommandRunner, "_wait_for_arrival", late)
    one.client.switch_to("green")
    assert [one.place[0], other.place[0]] == ["blue", "blue"]


@pytest.mark.timing
def test_a_frozen_cluster_does_not_delay_a_switch_away_from_it(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    blue, green = pair
    processes = [start(blue, green, FLEET="frozen", HEALTH_CHECK_FAILURES=50) for _ in range(3)]
    together(*processes)
    for cluster, path, body, label in [
        (blue, "switch", {"cluster": "green"}, "green"),
        (green, "reset", {}, "blue"),
    ]:
        cluster.freeze()
        asked = fair_time()
        assert processes[1].post(path, **body).get_json()["missing"] == []
        assert [process.place[0] for process in processes] == [label] * 3
        assert fair_time() - asked < 1.0
        cluster.thaw()
        eventually(lambda: processes[0].client.get_map("thawed").blocking().size() == 0)


def test_each_command_is_one_generation(blue: LocalCluster, green: LocalCluster, start: Start) -> None:
    processes = [start(blue, green, FLEET="generations") for _ in range(4)]
    together(*processes)
    found = [
        processes[count % 4].post("switch", cluster=label).get_json()["generation"]
        for count, label in enumerate(["green", "blue"] * 6)
    ]
    assert found == list(range(found[0], found[0] + 12))


def test_nothing_changes_unless_all_can_reach_the_target(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    whole = start(blue, green, FLEET="unreached")
    cut = start(absent("blue"), green, FLEET="unreached")
    together(whole, cut)
    assert (whole.place[0], cut.place[0]) == ("blue", "green")
    assert whole.post("switch", cluster="green").get_json()["missing"] == []
    before = whole.place, cut.place

    problem = assert_problem(whole.post("reset"), 409)
    assert cut.id in problem["detail"] and whole.id not in problem["detail"]
    with pytest.raises(ClientOfflineException, match=cut.id):
        whole.client.reset()
    problem = assert_problem(cut.post("reset"), 409)
    assert (
        cut.id in problem["detail"] and "refused" in problem["detail"] and whole.id not in problem["detail"]
    )
    assert (whole.place, cut.place) == before

    narrowed = whole.post("reset", workers=[whole.id]).get_json()
    assert (narrowed["told"], narrowed["done"], narrowed["missing"]) == ([whole.id], [whole.id], [])
    assert (whole.place[0], cut.place[0]) == ("blue", "green")
    forced = cut.post("switch", cluster="green").get_json()
    assert forced["missing"] == []
    forced = cut.post("reset", force=True).get_json()
    assert (forced["done"], forced["missing"]) == ([whole.id], [cut.id])
    assert forced["generation"] > narrowed["generation"]


def test_cold_processes_try_the_target_first(blue: LocalCluster, green: LocalCluster, start: Start) -> None:
    """Processes without standby try to connect to the target before anything changes."""
    cold = {"FLEET": "cold-asked", "STANDBY": "cold"}
    whole, cut = start(blue, green, **cold), start(blue, absent("green"), **cold)
    together(whole, cut)
    detail = assert_problem(whole.post("switch", cluster="green"), 409)["detail"]
    assert detail == f"Nothing has changed: green cannot be reached by {cut.id} (on blue)"
    assert_problem(whole.post("switch", cluster="green", workers=[cut.id]), 409)
    assert (whole.place, cut.place, whole.fleet["desired"]) == (("blue", 1), ("blue", 1), None)
    another = start(blue, green, **cold)
    together(whole, cut, another)
    moved = whole.post("switch", cluster="green", workers=sorted([whole.id, another.id])).get_json()
    assert moved["missing"] == []
    assert [process.place[0] for process in (whole, another, cut)] == ["green", "green", "blue"]


def test_concurrent_commands_to_cold_processes_both_succeed(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    cold = {"FLEET": "cold-twice", "STANDBY": "cold"}
    processes = [start(blue, green, **cold) for _ in range(3)]
    together(*processes)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(process.post, "switch", cluster="green") for process in processes[:2]]
    assert [answer.result().status_code for answer in asked] == [200, 200]
    eventually(lambda: [process.place[0] for process in processes] == ["green"] * 3)


def test_a_shell_that_cannot_reach_the_target_moves_nobody(
    blue: LocalCluster, green: LocalCluster, start: Start, begin: Start
) -> None:
    process, shell = start(blue, green, FLEET="cut-shell"), begin(blue, absent("green"), FLEET="cut-shell")
    shell.client.start()
    with pytest.raises(ClientOfflineException, match="green"):
        shell.client.switch_to("green")
    assert (process.place, process.fleet["desired"]) == (("blue", 1), None)


def test_a_refusal_names_every_process_without_reach(green: LocalCluster, start: Start) -> None:
    """The process that answers is among them, if it was told."""
    processes = [start(absent("blue"), green, FLEET="all-cut") for _ in range(3)]
    together(*processes)
    detail = assert_problem(processes[0].post("reset"), 409)["detail"]
    named = ", ".join(f"{worker} (on green)" for worker in sorted(process.id for process in processes))
    assert detail == f"Nothing has changed: blue cannot be reached by {named}"
    others = [process.id for process in processes[1:]]
    detail = assert_problem(processes[0].post("reset", workers=others), 409)["detail"]
    assert processes[0].id not in detail and all(other in detail for other in others)


def test_a_command_for_one_process_leaves_the_others(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    """The process stays on its cluster, and the others on theirs."""
    processes = [start(blue, green, FLEET="sent-apart") for _ in range(3)]
    together(*processes)
    sent = processes[0]
    assert processes[1].post("switch", cluster="green", workers=[sent.id]).get_json()["done"] == [sent.id]
    eventually(lambda: processes[2].fleet["split"], within=1)
    eventually(lambda: processes[2].desired.get("label") == "blue", within=9)
    time.sleep(1.5)
    assert [process.place[0] for process in processes] == ["green", "blue", "blue"]
    assert processes[2].post("switch", cluster="blue").get_json()["missing"] == []
    assert sent.place[0] == "blue"


def test_a_process_answers_alone_while_all_clusters_are_down(start_cluster: Any, begin: Start) -> None:
    blue = start_cluster("blue")
    process = begin(blue, absent("green"), FLEET="alone").serves()
    blue.kill()
    eventually(lambda: process.client.status().state == "offline")
    assert set(process.seen) == {process.id}
    assert_problem(process.post("reset"), 409)
    forced = process.post("reset", force=True).get_json()
    assert (forced["told"], forced["done"], forced["missing"]) == ([process.id], [], [process.id])
    blue.restart()
    eventually(lambda: process.place[0] == "blue")
    eventually(lambda: process.desired.get("generation") == forced["generation"])
