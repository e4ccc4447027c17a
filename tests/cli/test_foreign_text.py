"""No text from elsewhere steers the operator's terminal: what the commands print is printable and bounded."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from hazelcast.errors import HazelcastError

from flask_hazelcast_failover._cli import commands as cli
from flask_hazelcast_failover._cli import drill
from flask_hazelcast_failover._fleet import Fleet
from flask_hazelcast_failover._fleet_control import (
    CommandResult,
    SwitchCommand,
    TargetUnreachable,
    UnknownTarget,
)
from flask_hazelcast_failover.client._api.services import FollowingClusterService
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, make_app

NASTY = {
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "newline": "a\nHAZELCAST OK - forged",
    "c1": "\x9b31m",
    "bidi": "\u202egnp",
    "surrogate": "\ud800",
    "nul": "\0",
    "long": "x" * 10**7,
}


@pytest.fixture(params=list(NASTY.values()), ids=list(NASTY))
def text(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


@pytest.fixture
def flask_app(text: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """An app to which members and other processes have told this text wherever they can."""
    honest = Fleet.status

    def status(self: Fleet) -> dict[str, Any]:
        found = honest(self)
        for cluster in found["clusters"]:
            cluster |= {"last_error": text, "addresses": [text, text], "cluster_name": text}
        found["clusters"][1]["label"] = text
        worker = {"id": text, "host": text, "pid": 1, "current_cluster": text, "epoch": 1}
        fleet = {"name": text, "workers": [worker], "desired": None, "split": True}
        return found | {"state": "connected", "current_cluster": text, "fleet": fleet}

    monkeypatch.setattr(Fleet, "status", status)
    monkeypatch.setattr(cli, "_SETTLE_TIMEOUT", 0.1)
    app = make_app(absent("blue"), absent("green"), FLEET="shop", TRY_COUNT=1, WAIT_TIMEOUT=0.5)
    with client_of(app):
        yield app


@pytest.mark.parametrize("command", [["status"], ["check"], ["status", "--json"], ["check", "--json"]])
def test_a_status_is_printable(flask_app: Flask, command: list[str]) -> None:
    result = _run(flask_app, *command)
    assert not isinstance(result.exception, Exception), result.exception
    _assert_printable(result, is_json="--json" in command)
    if command == ["check"]:
        assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["status", "--json"]])
def test_why_nothing_can_be_reached_is_printable(
    flask_app: Flask, text: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    offline = {"state": "offline", "clusters": [], "fleet": {"workers": []}}
    monkeypatch.setattr(Fleet, "status", lambda self: offline)
    _raise_when_connecting(monkeypatch, ClientOfflineException(f"no cluster can be reached: {text}"))
    result = _run(flask_app, *command)
    assert "no cluster can be reached: " in result.output
    _assert_printable(result, is_json="--json" in command)


@pytest.mark.parametrize("error", [UnknownTarget, TargetUnreachable, ClientOfflineException])
@pytest.mark.parametrize("command", [["switch", "green"], ["reset"]])
def test_a_refusal_is_printable(
    flask_app: Flask, text: str, monkeypatch: pytest.MonkeyPatch, command: list[str], error: type[Exception]
) -> None:
    def refuse(self: Fleet, command: SwitchCommand) -> CommandResult:
        raise error(text)

    result = _carry_out(flask_app, monkeypatch, refuse, *command)
    assert result.exit_code == 2
    _assert_printable(result)


@pytest.mark.parametrize("command", [["switch", "green"], ["reset", "--json"]])
def test_the_outcome_of_an_action_is_printable(
    flask_app: Flask, text: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    given: list[SwitchCommand] = []

    def carry_out(self: Fleet, command: SwitchCommand) -> CommandResult:
        given.append(command)
        return CommandResult(1, (text,), (), (text,))

    monkeypatch.setattr(getpass, "getuser", lambda: text)
    result = _carry_out(flask_app, monkeypatch, carry_out, *command)
    assert result.exit_code == 1
    _assert_printable(result, is_json="--json" in command)
    assert all(one.by.isprintable() and len(one.by) <= 256 for one in given)


@pytest.mark.parametrize("command", [["drill"], ["drill", "--json"]])
def test_a_drill_is_printable(
    flask_app: Flask, text: str, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    def inspect(label: str, *_: object) -> drill.Inspection:
        if label == "blue":
            raise HazelcastError(text)
        return drill.Inspection(text, 1, None, 1.0, 1, "5.5.0", 3)

    monkeypatch.setattr(drill, "_inspect", inspect)
    monkeypatch.setattr(cli, "warnings_of", lambda *_: [f"{text} is empty"])
    _assert_printable(_run(flask_app, *command), is_json="--json" in command)


def test_an_unknown_label_is_quoted_in_part(blue: LocalCluster) -> None:
    app = make_app(blue, FLEET="quoting")
    with client_of(app):
        result = _run(app, "switch", "x" * 60_000)
    assert result.exit_code == 2
    assert result.output == f"unknown cluster '{'x' * 100}'… (60,000 characters); there is 'blue'\n"


def _carry_out(app: Flask, monkeypatch: pytest.MonkeyPatch, carry_out: Any, *command: str) -> Result:
    monkeypatch.setattr(Fleet, "carry_out", carry_out)
    with app.app_context():
        client = app.extensions["hazelcast_failover"].client
    monkeypatch.setattr(type(client), "start", lambda self: self)
    return _run(app, *command)


def _raise_when_connecting(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def get_members(self: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_wait_until", lambda condition, timeout: None)
    monkeypatch.setattr(FollowingClusterService, "get_members", get_members)


def _assert_printable(result: Result, *, is_json: bool = False) -> None:
    """Apart from newlines and the colours of the commands themselves, which a test's terminal does not show."""
    assert result.output
    assert len(result.output) < 20_000
    assert all(line.isprintable() for line in result.output.split("\n"))
    assert not any(line.startswith("HAZELCAST OK - forged") for line in result.output.split("\n"))
    if is_json:
        assert result.output.isascii()
        json.loads(result.stdout)


def _run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["hazelcast", *arguments])
