"""Several processes of one app, each played by an app of its own, on real clusters."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import pytest
from flask import Flask

from flask_hazelcast_failover import ClientConfig, ClientOfflineException, HazelcastClient, signals
from flask_hazelcast_failover.client.events import Reason
from flask_hazelcast_failover.fleet import server_name
from flask_hazelcast_failover.fleet.boards import map_name
from flask_hazelcast_failover.fleet.records import by_majority
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.admin import BEARER, assert_problem
from tests.support.apps import TOKEN, absent, client_of, make_app
from tests.support.waiting import eventually


class Process:
    """One process of a fleet: an app with its client and its admin routes."""

    def __init__(self, flask_app: Flask, client: HazelcastClient) -> None:
        self.flask_app = flask_app
        self.client = client
        self.visitor = flask_app.test_client()

    @property
    def id(self) -> str:
        return self.client.status().worker

    @property
    def place(self) -> tuple[str | None, int]:
        """Its cluster and its epoch."""
        status = self.client.status()
        return status.current_cluster, status.epoch

    @property
    def fleet(self) -> dict[str, Any]:
        fleet: dict[str, Any] = self.visitor.get("/hazelcast/status", headers=BEARER).get_json()["fleet"]
        return fleet

    @property
    def seen(self) -> dict[str, str | None]:
        """Who is where, as it sees the fleet."""
        return {worker["id"]: worker["current_cluster"] for worker in self.fleet["workers"]}

    def post(self, path: str, **body: object) -> Any:
        return self.visitor.post(f"/hazelcast/{path}", json=body, headers=BEARER)

    def serves(self) -> Process:
        """Take a first request, connected to every cluster that is there."""
        self.client.start()
        self.visitor.get("/hazelcast/health/live")
        eventually(lambda: "connecting" not in {c.state for c in self.client.status().clusters})
        return self


class Start(Protocol):
    """Makes a process that ends with the test; it serves unless told otherwise."""

    def __call__(self, *clusters: LocalCluster | str, **settings: Any) -> Process: ...


@pytest.fixture
def begin() -> Iterator[Start]:
    """Make processes that do not serve yet."""
    with ExitStack() as running:

        def begin(*clusters: LocalCluster | str, **settings: Any) -> Process:
            quick = {"TRY_COUNT": 1, "RETRY_DELAY": 0.01, "HEALTH_CHECK_INTERVAL": 0.2}
            flask_app = make_app(*clusters, ADMIN_TOKEN=TOKEN, **(quick | settings))
            return Process(flask_app, running.enter_context(client_of(flask_app)))

        yield begin


@pytest.fixture
def start(begin: Start) -> Start:
    """Make processes that serve."""
    return lambda *clusters, **settings: begin(*clusters, **settings).serves()


def together(*processes: Process) -> None:
    """Wait until all of them see each other."""
    ids = {process.id for process in processes}
    eventually(lambda: all(set(process.seen) == ids for process in processes))


# Who belongs to a fleet


def test_two_fleets_on_the_same_clusters_never_see_each_other(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    one, other = start(blue, green, FLEET="one"), start(blue, green, FLEET="other")
    unnamed, another = start(blue, green), start(blue, green)
    assert one.post("switch", cluster="green").get_json()["told"] == [one.id]
    time.sleep(1.2)  # the time within which others of the fleet would have acted
    for process in (other, unnamed, another):
        assert process.place == ("blue", 1)
        assert (set(process.seen), process.fleet["desired"]) == ({process.id}, None)


def test_who_has_served_no_request_sees_the_fleet_and_does_not_count(
    blue: LocalCluster, green: LocalCluster, start: Start, begin: Start
) -> None:
    process, shell = start(blue, green, FLEET="shells"), begin(blue, green, FLEET="shells")
    shell.client.start()
    together(process)
    with shell.flask_app.app_context():
        status = shell.flask_app.extensions["hazelcast_failover"].steering.status()
    assert [worker["id"] for worker in status["fleet"]["workers"]] == [process.id]
    assert set(process.seen) == {process.id}
    shell.client.switch_to("green")
    assert (shell.place, process.place) == (("green", 2), ("green", 2))
    assert process.fleet["desired"]["by"] == f"process {shell.id}"


def test_a_process_that_ends_is_gone_at_once(blue: LocalCluster, green: LocalCluster, start: Start) -> None:
    here, leaving = start(blue, green, FLEET="leaving"), start(blue, green, FLEET="leaving")
    together(here, leaving)
    leaving.client.shutdown()
    eventually(lambda: set(here.seen) == {here.id}, within=1.5)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("hazelcast-failover-fleet")
    ][1:]


def test_an_app_that_never_uses_its_client_has_no_thread_and_leaves_no_map(
    blue: LocalCluster, begin: Start
) -> None:
    process = begin(blue, FLEET="unused")
    assert process.fleet["name"] == "unused"
    assert [worker["current_cluster"] for worker in process.fleet["workers"]] == [None]
    time.sleep(0.3)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("hazelcast-failover-fleet")
    ]
    config = ClientConfig.from_dict({"cluster_name": "blue", "cluster_members": blue.addresses})
    with HazelcastClient(config) as client:
        assert map_name("unused") not in [found.name for found in client.get_distributed_objects()]


def test_the_name_of_a_server_s_fleet_tells_apps_apart() -> None:
    names = [
        server_name("shop", "/srv/shop"),
        server_name("shop", "/srv/shop"),
        server_name("shop", "/srv/b"),
    ]
    assert len({name() for name in names}) == 3
    assert names[0]() == names[0]() and names[0]().startswith("shop@")


# Orders


def test_switch_to_and_reset_of_the_client_act_on_the_whole_fleet(
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


def test_a_wish_to_leave_a_frozen_cluster_is_not_held_up_by_it(
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
        asked = time.monotonic()
        assert processes[1].post(path, **body).get_json()["missing"] == []
        assert [process.place[0] for process in processes] == [label] * 3
        assert time.monotonic() - asked < 1.0
        cluster.thaw()
        eventually(lambda: processes[0].client.get_map("thawed").blocking().size() == 0)


def test_each_wish_is_one_generation(blue: LocalCluster, green: LocalCluster, start: Start) -> None:
    processes = [start(blue, green, FLEET="generations") for _ in range(4)]
    together(*processes)
    found = [
        processes[count % 4].post("switch", cluster=label).get_json()["generation"]
        for count, label in enumerate(["green", "blue"] * 6)
    ]
    assert found == list(range(found[0], found[0] + 12))


def test_nothing_changes_unless_every_process_can_reach_the_target(
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


def test_a_refusal_names_every_process_that_is_cut_off_the_one_that_answers_among_them(
    green: LocalCluster, start: Start
) -> None:
    processes = [start(absent("blue"), green, FLEET="all-cut") for _ in range(3)]
    together(*processes)
    detail = assert_problem(processes[0].post("reset"), 409)["detail"]
    named = ", ".join(f"{worker} (on green)" for worker in sorted(process.id for process in processes))
    assert detail == f"Nothing has changed: blue cannot be reached by {named}"
    others = [process.id for process in processes[1:]]
    detail = assert_problem(processes[0].post("reset", workers=others), 409)["detail"]
    assert processes[0].id not in detail and all(other in detail for other in others)


def test_who_was_sent_elsewhere_on_its_own_stays_there_and_the_others_where_they_are(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    processes = [start(blue, green, FLEET="apart") for _ in range(3)]
    together(*processes)
    sent = processes[0]
    assert processes[1].post("switch", cluster="green", workers=[sent.id]).get_json()["done"] == [sent.id]
    eventually(lambda: processes[2].fleet["split"], within=1)
    eventually(
        lambda: processes[2].fleet["desired"] and processes[2].fleet["desired"]["label"] == "blue", within=9
    )
    time.sleep(1.5)
    assert [process.place[0] for process in processes] == ["green", "blue", "blue"]
    assert processes[2].post("switch", cluster="blue").get_json()["missing"] == []
    assert sent.place[0] == "blue"


def test_while_every_cluster_is_down_a_process_answers_for_itself(start_cluster: Any, begin: Start) -> None:
    blue = start_cluster("blue")
    process = begin(blue, absent("green"), FLEET="alone").serves()
    blue.kill()
    eventually(lambda: process.client.status().state == "offline")
    began = time.monotonic()
    assert set(process.seen) == {process.id}
    assert_problem(process.post("reset"), 409)
    forced = process.post("reset", force=True).get_json()
    assert (forced["told"], forced["done"], forced["missing"]) == ([process.id], [], [process.id])
    assert time.monotonic() - began < 4
    blue.restart()
    eventually(lambda: process.place[0] == "blue")
    eventually(lambda: process.fleet["desired"]["generation"] == forced["generation"])


# Late starters


@pytest.mark.parametrize("standby", ["hot", "cold"])
def test_a_late_starter_goes_first_to_where_the_fleet_is(
    blue: LocalCluster, green: LocalCluster, start: Start, standby: str
) -> None:
    first = start(blue, green, FLEET=f"late-{standby}")
    first.client.switch_to("green")
    late = start(blue, green, FLEET=f"late-{standby}", STANDBY=standby)
    assert (late.place, late.client.status().history) == (("green", 1), ())
    together(first, late)
    expected = {"green": "active", "blue": "standby" if standby == "hot" else "idle"}
    eventually(lambda: {c.label: c.state for c in late.client.status().clusters} == expected)


def test_a_late_starter_follows_a_majority_that_has_moved_just_now(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    first = start(blue, green, FLEET="late-majority")
    first.client.move(1, Reason.CONNECTION_LOST, holds=False)
    for official in first.client.connected_clusters().values():
        board: Any = official.get_map(map_name("late-majority")).blocking()
        eventually(lambda board=board: '"green"' in str(board.get(f"worker/{first.id}")))  # type: ignore[misc]
        board.set("desired", by_majority(None, "blue").as_text())  # where most of them were before
    assert start(blue, green, FLEET="late-majority").place == ("green", 1)


def test_a_late_starter_goes_elsewhere_when_it_cannot_reach_the_fleet(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    start(blue, green, FLEET="late-cut").client.switch_to("green")
    assert start(blue, absent("green"), FLEET="late-cut").place == ("blue", 1)


def test_a_fleet_takes_no_numbers_out_of_a_seeded_sequence(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    before = random.getstate()
    processes = [start(blue, green, FLEET="seeded") for _ in range(2)]
    together(*processes)
    processes[0].client.switch_to("green")
    processes[0].client.reset()
    assert random.getstate() == before


def test_what_a_named_fleet_wanted_outlives_its_processes(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    gone = start(blue, green, FLEET="outlived")
    gone.client.switch_to("green")
    gone.client.shutdown()
    later = start(blue, green, FLEET="outlived")
    assert later.place == ("green", 1)
    assert later.fleet["desired"]["label"] == "green"


# Coming back


def test_a_switch_on_purpose_suspends_failback_for_late_starters_too(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    settings = {"FLEET": "held", "FAILBACK": "auto", "FAILBACK_AFTER": 0.2}
    first = start(blue, green, **settings)
    first.client.switch_to("green")
    late = start(blue, green, **settings)
    together(first, late)
    time.sleep(1.5)  # several times what a failback would have taken
    assert (first.place, late.place) == (("green", 2), ("green", 1))
    late.client.reset()
    eventually(lambda: (first.place, late.place) == (("blue", 3), ("blue", 2)), within=1)


def test_a_failback_waits_until_all_can_follow_and_takes_them_along(
    start_cluster: Any, green: LocalCluster, start: Start
) -> None:
    blue = start_cluster("blue")
    auto = start(blue, green, FLEET="waiting", FAILBACK="auto", FAILBACK_AFTER=0.3)
    manual = start(blue, green, FLEET="waiting")
    unable = start(absent("blue"), green, FLEET="waiting")
    blue.kill()
    eventually(lambda: (auto.place, manual.place) == (("green", 2), ("green", 2)))
    together(auto, manual, unable)
    blue.restart()
    time.sleep(2.5)  # the keeper asks at least every second
    assert (auto.place, manual.place) == (("green", 2), ("green", 2))
    unable.client.shutdown()
    eventually(lambda: (auto.place, manual.place) == (("blue", 3), ("blue", 3)), within=6)
    reasons = [process.client.status().history[-1].reason for process in (auto, manual)]
    assert reasons == ["failback", "fleet"]
    assert auto.fleet["desired"]["by"] == "failback"


# What is told


@pytest.mark.parametrize(
    ("standby", "labels"), [("hot", ["green", "blue", "green"]), ("cold", ["green", "blue"])]
)
def test_one_process_is_the_first_of_each_switch(
    blue: LocalCluster, green: LocalCluster, start: Start, standby: str, labels: list[str]
) -> None:
    processes = [start(blue, green, FLEET=f"first-{standby}", STANDBY=standby) for _ in range(3)]
    together(*processes)
    told: list[tuple[str, bool]] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append((event.current, event.fleet_first))

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(note, process.flask_app))
        for count, label in enumerate(labels, 1):
            processes[count % 3].client.switch_to(label)
            eventually(partial(lambda expected: len(told) == expected, 3 * count))
            assert sorted(told[-3:]) == [(label, False), (label, False), (label, True)]


def test_one_process_is_the_first_on_a_cluster_that_answers_late(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    blue, green = pair
    processes = [start(blue, green, FLEET="late-answer", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    together(*processes)
    told: list[bool] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append(event.fleet_first)

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(note, process.flask_app))
        green.freeze()
        blue.kill()
        eventually(lambda: all(process.place[0] == "green" for process in processes))
        time.sleep(1.0)  # that late
        green.thaw()
        eventually(lambda: len(told) == 3)
    assert sorted(told) == [False, False, True]


def test_one_process_is_the_first_on_a_cluster_that_is_lost_before_it_can_be_asked(
    pair: tuple[LocalCluster, LocalCluster], start: Start
) -> None:
    blue, green = pair
    processes = [start(blue, green, FLEET="unanswered", HEALTH_CHECK_INTERVAL=5.0) for _ in range(3)]
    together(*processes)
    told: list[bool] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append(event.fleet_first)

    with ExitStack() as connected:
        for process in processes:
            connected.enter_context(signals.cluster_switched.connected_to(note, process.flask_app))
        green.freeze()
        blue.kill()
        eventually(lambda: all(process.place[0] == "green" for process in processes))
        green.kill()
        eventually(lambda: len(told) == 3)
    assert sorted(told) == [False, False, True]


def test_whoever_cannot_ask_is_the_first(pair: tuple[LocalCluster, LocalCluster], start: Start) -> None:
    blue, green = pair
    process = start(blue, green, FLEET="unasked", HEALTH_CHECK_INTERVAL=5.0)
    told: list[signals.ClusterSwitched] = []

    def note(_: Flask, event: signals.ClusterSwitched) -> None:
        told.append(event)

    with signals.cluster_switched.connected_to(note, process.flask_app):
        green.freeze()
        began = time.monotonic()
        blue.kill()
        (event,) = eventually(lambda: told)
        assert event.fleet_first and time.monotonic() - began < 5
        green.thaw()
