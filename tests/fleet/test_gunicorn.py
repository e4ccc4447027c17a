"""Real servers with several workers on real clusters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import url_of
from tests.support.fleet_server import Server, environment_of, serve
from tests.support.relay import Relay
from tests.support.waiting import eventually

APP = "tests.support.fleet_app:create_app"
QUICK: dict[str, Any] = {"TRY_COUNT": 1, "HEALTH_CHECK_INTERVAL": 0.2}


def settled(server: Server, *labels: str, within: float = 5.0) -> None:
    """Wait until the workers are on these clusters, and on no other."""
    eventually(lambda: set(server.places()) == set(labels), within)


@pytest.mark.parametrize("arguments", [("--worker-class", "sync"), ("--threads", "2", "--preload")])
def test_one_request_moves_every_worker_within_a_second(
    blue: LocalCluster, green: LocalCluster, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with serve(tmp_path, [url_of(blue), url_of(green)], 4, arguments, **QUICK) as server:
        server.visited()
        workers = sorted(server.statuses())
        for generation, (path, body, label) in enumerate(
            [("/hazelcast/switch", {"cluster": "green"}, "green"), ("/hazelcast/reset", {}, "blue")], 1
        ):
            asked = time.monotonic()
            code, answer = server.post(path, **body)
            assert time.monotonic() - asked < 1.0
            assert code == 200
            assert (answer["told"], sorted(answer["done"]), answer["missing"]) == (workers, workers, [])
            assert answer["generation"] >= generation
            assert set(server.places()) == {label}
            switched = eventually(partial(_switches_to, server, label, 4))
            assert sorted(event["fleet_first"] for event in switched) == ["False", "False", "False", "True"]
            assert sorted(event["reason"] for event in switched) == ["fleet", "fleet", "fleet", "manual"]

        code, answer = server.post("/hazelcast/switch", cluster="green", workers=workers[:1])
        assert code == 200 and answer["told"] == answer["done"] == workers[:1]
        statuses = server.statuses()
        assert [statuses[worker]["current_cluster"] for worker in workers] == [
            "green",
            "blue",
            "blue",
            "blue",
        ]
        eventually(lambda: all(status["fleet"]["split"] for status in server.statuses().values()))
        split = eventually(lambda: server.events("fleet_split"), within=6)
        assert split[0]["workers"] == "{'blue': 3, 'green': 1}"
        assert server.post("/hazelcast/reset", workers=["nobody"])[0] == 400
        assert server.post("/hazelcast/reset")[1]["done"] == workers
        eventually(lambda: not any(status["fleet"]["split"] for status in server.statuses().values()))


def _switches_to(server: Server, label: str, count: int) -> list[dict[str, str]]:
    found = [event for event in server.events("cluster_switched") if event["current"] == label]
    assert len(found) <= count
    return found if len(found) == count else []


def test_a_fleet_survives_the_loss_of_a_cluster(
    pair: tuple[LocalCluster, LocalCluster], tmp_path: Path
) -> None:
    blue, green = pair
    with serve(tmp_path, [url_of(blue), url_of(green)], 4, ("--preload",), **QUICK) as server:
        server.visited()
        blue.kill()
        settled(server, "green")
        switched = eventually(lambda: _switches_to(server, "green", 4))
        assert [event["fleet_first"] for event in switched].count("True") == 1

        before = server.statuses()
        code, problem = server.post("/hazelcast/reset")
        assert code == 409 and "blue" in problem["detail"]
        code, answer = server.post("/hazelcast/reset", force=True)
        assert code == 200 and answer["done"] == [] and sorted(answer["missing"]) == sorted(before)
        after = server.statuses()
        assert {worker: status["epoch"] for worker, status in after.items()} == dict.fromkeys(before, 2)

        # Once blue is back, nobody switches to it, even before the majority has made green the desired cluster.
        eventually(lambda: _desired(server) == "green", within=10)
        blue.restart()
        eventually(lambda: all(_state(status, "blue") == "standby" for status in server.statuses().values()))

        # Late starters, such as those of a rolling restart, begin on green.
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: not set(before) & set(_workers(server)), within=30)
        server.visited()
        for status in server.statuses().values():
            assert (status["current_cluster"], status["epoch"]) == ("green", 1)
        assert server.post("/hazelcast/reset")[1]["missing"] == []
        assert server.places() == ["blue"] * 4


def _desired(server: Server) -> str | None:
    desired = server.get("/hazelcast/status")["fleet"]["desired"]
    return desired and str(desired["label"])


def _state(status: dict[str, object], label: str) -> str:
    clusters = status["clusters"]
    assert isinstance(clusters, list)
    return next(str(cluster["state"]) for cluster in clusters if cluster["label"] == label)


def _workers(server: Server) -> list[str]:
    return [worker["id"] for worker in server.get("/hazelcast/status")["fleet"]["workers"]]


def test_a_partition_of_one_process(blue: LocalCluster, green: LocalCluster, tmp_path: Path) -> None:
    settings = QUICK | {"FLEET": "partitioned"}
    whole = [url_of(blue), url_of(green)]
    with ExitStack() as running:
        relay = running.enter_context(Relay(blue.addresses[0]))
        # A smart client would bypass the relay and connect to the address that the member announces.
        cut = [f"hazelcast://blue@{relay.address}?known_members=false", url_of(green)]
        settings["CLIENT_OPTIONS"] = {"smart_routing": False}
        servers = [
            running.enter_context(serve(tmp_path, clusters, 1, **settings))
            for clusters in (whole, whole, cut)
        ]
        here, other, stray = servers
        for server in servers:
            server.get("/visits")
        eventually(lambda: all(len(_workers(server)) == 3 for server in servers))
        (lost,) = stray.statuses()

        relay.refuse()
        settled(stray, "green")
        assert here.places() == other.places() == ["blue"]
        eventually(lambda: here.get("/hazelcast/status")["fleet"]["split"])
        told = eventually(lambda: stray.events("fleet_split"), within=6)
        assert told[0]["workers"] == "{'blue': 2, 'green': 1}"
        code, problem = here.post("/hazelcast/reset")
        assert code == 409 and lost in problem["detail"]
        code, answer = here.post("/hazelcast/reset", force=True)
        assert code == 200 and answer["missing"] == [lost] and len(answer["done"]) == 2
        assert stray.places() == ["green"]

        relay.resume()
        settled(stray, "blue", within=12)
        eventually(lambda: stray.events("cluster_switched")[-1]["reason"] == "fleet")
        assert here.events("cluster_switched") == other.events("cluster_switched") == []
        eventually(lambda: not here.get("/hazelcast/status")["fleet"]["split"])


def test_a_shell_moves_only_the_named_fleet(blue: LocalCluster, green: LocalCluster, tmp_path: Path) -> None:
    """It never counts as one of its processes."""
    clusters = [url_of(blue), url_of(green)]
    with (
        serve(tmp_path, clusters, 2, FLEET="shop-eu", **QUICK) as meant,
        serve(tmp_path, clusters, 1, FLEET="shop-us", **QUICK) as other,
    ):
        meant.visited()
        other.visited()

        def shell(*command: str) -> tuple[int, dict[str, object]]:
            done = subprocess.run(
                [sys.executable, "-m", "flask", "--app", APP, "hazelcast", *command, "--json"],
                env=os.environ | environment_of(tmp_path / "shell", clusters, FLEET="shop-eu", **QUICK),
                capture_output=True,
                timeout=30,
                check=False,
            )
            return done.returncode, json.loads(done.stdout)

        code, answer = shell("switch", "green")
        assert (code, answer["missing"]) == (0, [])
        assert answer["done"] == sorted(meant.statuses())
        assert meant.places() == ["green", "green"] and other.places() == ["blue"]
        code, status = shell("status")
        fleet = status["fleet"]
        assert isinstance(fleet, dict)
        assert [worker["id"] for worker in fleet["workers"]] == sorted(meant.statuses())
        assert len(_workers(other)) == 1 and _desired(other) != "green"
        assert shell("reset")[0] == 0
        assert meant.places() == ["blue", "blue"]
