"""`flask hazelcast …` on real clusters: what it prints and how it exits."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

import pytest
from click.testing import Result
from flask import Flask

from flask_hazelcast_failover._cli import commands as cli
from flask_hazelcast_failover._fleet.cluster_store import map_name
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.apps import absent, client_of, make_app
from tests.support.fake_servers import Peer, silent
from tests.support.fleet import Start
from tests.support.waiting import eventually


@pytest.fixture
def flask_app(blue: LocalCluster, green: LocalCluster) -> Iterator[Flask]:
    app = make_app(blue, green)
    with client_of(app):
        yield app


def test_status_shows_every_cluster_and_the_fleet(flask_app: Flask) -> None:
    result = _run(flask_app, "status")
    assert result.exit_code == 0, result.output
    assert "blue (primary) can be reached" in result.output
    lines = result.output.splitlines()
    assert any(line.startswith("blue") and "active" in line for line in lines)
    assert any(line.startswith("green") for line in lines)
    assert any(line.startswith("processes: unknown") for line in lines)


def test_status_as_json_has_the_fields_of_the_admin_route(flask_app: Flask) -> None:
    found = json.loads(_run(flask_app, "status", "--json").output)
    assert found["current_cluster"] == "blue"
    assert [cluster["label"] for cluster in found["clusters"]] == ["blue", "green"]
    assert {"worker", "state", "history", "fleet", "on_primary", "epoch"} <= set(found)


def test_check_exits_with_0_on_the_primary(flask_app: Flask) -> None:
    result = _run(flask_app, "check")
    assert result.exit_code == 0
    assert result.output == "HAZELCAST OK - blue (primary) can be reached\n"


def test_check_exits_with_1_off_the_primary(green: LocalCluster) -> None:
    app = make_app(absent("blue"), green, RETRY_DELAY=0.01)
    with client_of(app):
        result = _run(app, "check")
    assert result.exit_code == 1
    assert result.output == "HAZELCAST DEGRADED - only green can be reached, not blue (primary)\n"


@pytest.mark.parametrize("looks_on", [True, False], ids=["people", "a cron job"])
def test_progress_is_printed_on_a_terminal_only(looks_on: bool) -> None:
    with Peer(silent) as peer:
        environment = {
            "FLASK_APP": "tests.support.served_app",
            "FLASK_HAZELCAST_FAILOVER_CLUSTERS": f"hazelcast://blue@{peer.address}",
            "FLASK_HAZELCAST_FAILOVER_TRY_COUNT": "1",
            "FLASK_HAZELCAST_FAILOVER_CONNECT_TIMEOUT": "1.5",
        }
        ours, theirs = os.openpty() if looks_on else os.pipe()
        with os.fdopen(ours, encoding="utf-8") as heard:
            command = [sys.executable, "-m", "flask", "hazelcast", "check"]
            subprocess.run(command, env=os.environ | environment, stderr=theirs, check=False, timeout=30)
            os.close(theirs)
            assert ("looking at the clusters ... 1 s" in _all_of(heard)) == looks_on


def _all_of(stream: TextIO) -> str:
    lines: list[str] = []
    with suppress(OSError):  # a terminal that nobody writes to any more
        lines.extend(stream)
    return "".join(lines)


def test_status_says_why_each_cluster_is_down() -> None:
    app = make_app(absent("blue"), absent("green"), RETRY_DELAY=0.01)
    with client_of(app):
        found = json.loads(_run(app, "status", "--json").output)
    assert [cluster["state"] for cluster in found["clusters"]] == ["down", "down"]
    assert all("refused" in cluster["last_error"] for cluster in found["clusters"])


@pytest.mark.parametrize(("command", "code"), [("reset", 2), ("check", 1)])
def test_a_misspelt_fleet_is_an_error(blue: LocalCluster, command: str, code: int) -> None:
    app = make_app(blue, FLEET="misspelt")
    with client_of(app) as client:
        result = _run(app, command)
        board: Any = client.get_map(map_name("misspelt")).blocking()
        wanted = board.get("desired")
    assert result.exit_code == code
    assert "no process of fleet misspelt can be found" in result.output
    assert wanted is None


def test_check_exits_with_2_when_nothing_can_be_reached() -> None:
    """It says why."""
    app = make_app(absent("blue"), absent("green"), RETRY_DELAY=0.01)
    with client_of(app):
        result = _run(app, "check")
    assert result.exit_code == 2
    assert result.output.startswith("HAZELCAST DOWN - no cluster can be reached: blue (")
    assert "refused" in result.output


def test_check_waits_for_the_whole_search_without_standby(
    blue: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without standby, the clusters are tried one after the other."""
    monkeypatch.setattr(cli, "_SETTLE_TIMEOUT", 0.2)
    with Peer(silent) as peer:
        silent_one = f"hazelcast://silent@{peer.address}"
        slow: dict[str, Any] = {
            "CONNECT_TIMEOUT": 0.5,
            "WAIT_TIMEOUT": 0.5,
            "RETRY_DELAY": 0.01,
            "STANDBY": "cold",
        }
        app = make_app(silent_one, blue, **slow)
        with client_of(app):
            result = _run(app, "check")
    assert (result.exit_code, result.output) == (
        1,
        "HAZELCAST DEGRADED - only blue can be reached, not silent (primary)\n",
    )


def test_a_command_in_a_serving_process_moves_it(
    blue: LocalCluster, green: LocalCluster, start: Start
) -> None:
    process = start(blue, green)
    result = _run(process.flask_app, "switch", "green")
    assert (result.exit_code, result.output) == (0, "1 of 1 processes are there\n")
    assert process.place == ("green", 2)


@pytest.mark.parametrize("command", [["switch", "green"], ["reset"]])
def test_switch_and_reset_require_a_named_fleet(flask_app: Flask, command: list[str]) -> None:
    result = _run(flask_app, *command)
    assert result.exit_code == 2
    assert "HAZELCAST_FAILOVER_FLEET" in result.output


def test_drill_exits_with_0_when_every_cluster_is_fit(flask_app: Flask) -> None:
    result = _run(flask_app, "drill")
    assert result.exit_code == 0, result.output
    assert "blue: fit" in result.output
    assert "green: fit" in result.output
    assert "every cluster is fit to take over" in result.output


def test_drill_exits_with_2_when_a_cluster_is_not_fit(blue: LocalCluster) -> None:
    app = make_app(blue, absent("green"))
    with client_of(app):
        result = _run(app, "drill", "--json")
    found = json.loads(result.output)
    assert result.exit_code == 2
    assert [cluster["fit"] for cluster in found["clusters"]] == [True, False]
    assert "refused" in found["clusters"][1]["problem"]


def test_drill_warns_of_an_empty_cluster(start_cluster: StartCluster) -> None:
    """It leaves nothing behind itself."""
    full, empty = start_cluster("blue"), start_cluster("green")
    app = make_app(full, empty)
    with client_of(app) as client:
        stock: Any = client.get_map("stock").blocking()
        stock.put("bolts", 3)
        result = _run(app, "drill", "--json")
        kept = client.get_map("hazelcast-failover-drill").blocking().size()
    assert kept == 0
    empty_one = "green is empty, blue holds 1 entry: after a switch the app starts with nothing"
    assert empty_one in json.loads(result.output)["warnings"]


def test_a_shell_that_follows_its_fleet_logs_no_warning(
    pair: Any, start: Start, begin: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server, shell = start(*pair, FLEET="followed"), begin(*pair, FLEET="followed")
    assert server.post("reset").status_code == 200
    pair[0].kill()
    eventually(lambda: server.place[0] == "green")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert "1 on green" in _run(shell.flask_app, "check").output
        told = eventually(lambda: [one for one in caplog.records if "switching to blue" in one.getMessage()])
    assert {record.levelname for record in told} == {"INFO"}


def test_drill_warns_of_a_reset_to_an_empty_primary(pair: Any, start: Start, begin: Start) -> None:
    """It goes by where the processes of the fleet are, not by where a command would begin."""
    server, shell = start(*pair, FLEET="drilled"), begin(*pair, FLEET="drilled")
    assert server.post("switch", cluster="green").status_code == 200
    stock: Any = server.client.get_map("stock").blocking()
    stock.put_all({"bolts": 3, "nuts": 4})
    warnings = json.loads(_run(shell.flask_app, "drill", "--json").output)["warnings"]
    # Which of two clusters on one machine answers faster is chance, and told as well.
    assert [warning for warning in warnings if "latency" not in warning] == [
        "blue is empty, green holds 2 entries: after a switch the app starts with nothing"
    ]


def _run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["hazelcast", *arguments])
