"""What comes from elsewhere is printable and bounded in the answers, on the page and in the log."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask import Flask, Request, abort
from flask.testing import FlaskClient

from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover._fleet import Fleet
from flask_hazelcast_failover._fleet_control import CommandResult, SwitchCommand, TargetUnreachable
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.admin import BEARER, assert_problem, basic
from tests.support.apps import TOKEN, absent, client_of, make_app

NASTY = ["a\nforged", "\x1b[31mred", "\x9b2J", "\u202egnp", "\ud800", "\u2028", "\x7f", "\0", "x" * 10**6]
NASTY_IDS = [text[:8].encode("unicode_escape").decode() for text in NASTY]
LOGGER = "flask_hazelcast_failover.admin"


@pytest.fixture(params=[*NASTY, "x" * 60_000_000], ids=[*NASTY_IDS, "60 MB"])
def text(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


@pytest.fixture
def nasty(opened: FlaskClient, text: str, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """A visitor of an app to which members and other processes have told this text wherever they can."""
    honest = Fleet.status

    def status(self: Fleet) -> dict[str, Any]:
        found = honest(self)
        for cluster in found["clusters"]:
            cluster |= {"state": "down", "last_error": text, "addresses": [text], "cluster_name": text}
        found["clusters"][1]["label"] = text
        at = "2026-01-01T00:00:00+00:00"
        switch = {"at": at, "previous": text, "current": text, "reason": text, "duration": 1.0, "epoch": 2}
        worker = {"id": text, "host": text, "pid": 1, "current_cluster": text, "epoch": 1}
        desired = {"generation": 1, "label": text, "by": text}
        fleet = {"name": text, "workers": [worker], "desired": desired, "split": True}
        seen = {"state": "connected", "current_cluster": text, "worker": text}
        return found | seen | {"history": [switch], "fleet": fleet}

    def carry_out(self: Fleet, command: SwitchCommand) -> CommandResult:
        if command.label is None:
            raise TargetUnreachable(f"{text} cannot be reached by {text}")
        return CommandResult(1, (text,), (text,), (text,))

    monkeypatch.setattr(Fleet, "status", status)
    monkeypatch.setattr(Fleet, "carry_out", carry_out)
    return opened


@pytest.mark.parametrize("path", ["/hazelcast/", "/hazelcast/?part=live"])
def test_the_page_shows_foreign_text(nasty: FlaskClient, path: str) -> None:
    response = nasty.get(path, headers=BEARER)
    assert response.status_code == 200
    assert len(response.data) < 100_000
    assert all(line.isprintable() for line in response.text.split("\n"))
    assert "\nforged" not in response.text


@pytest.mark.parametrize("path", ["/hazelcast/status", "/hazelcast/openapi.json"])
def test_json_holds_printable_and_bounded_texts(nasty: FlaskClient, path: str) -> None:
    response = nasty.get(path, headers=BEARER)
    assert response.status_code == 200
    assert response.data.isascii()
    texts = list(_texts(json.loads(response.data)))
    assert all(found.isprintable() and len(found) <= 2048 for found in texts)


def test_outcomes_of_actions_are_printable_and_bounded(
    nasty: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    refused = assert_problem(nasty.post("/hazelcast/reset", headers=BEARER), 409)
    assert refused["detail"].isprintable() and len(refused["detail"]) <= 2048
    done = nasty.post("/hazelcast/switch", json={"cluster": "green"}, headers=BEARER)
    assert done.status_code == 200
    assert all(found.isprintable() and len(found) <= 256 for found in _texts(done.get_json()))
    _assert_lines(caplog, 2)


def test_the_actor_is_printable_and_bounded_in_the_log_and_in_the_command(
    opened: FlaskClient, text: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[SwitchCommand] = []

    def carry_out(self: Fleet, command: SwitchCommand) -> CommandResult:
        given.append(command)
        return CommandResult(1, (), (), ())

    monkeypatch.setattr(Fleet, "carry_out", carry_out)
    user = text[: 10**6].replace(":", "").encode("utf-8", "surrogatepass")
    credentials = base64.b64encode(user + b":" + TOKEN.encode()).decode()
    by_password = {"Authorization": f"Basic {credentials}"}
    ext = HazelcastFailover(admin_auth=lambda request: text)
    by_function = make_app(absent("blue"), ext=ext).test_client()
    for visitor, headers in ((opened, by_password), (by_function, {})):
        assert visitor.post("/hazelcast/reset", headers=headers).status_code == 200
        assert visitor.post("/hazelcast/reset", data="{", headers=headers).status_code == 415
    assert len(given) == 2
    assert all(command.by.isprintable() and len(command.by) <= 256 for command in given)
    _assert_lines(caplog, 4)


def test_a_line_with_many_long_texts_is_bounded(
    opened: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    long = "\U000e0001" * 1000  # each is ten characters when escaped
    result = CommandResult(1, (long,), (long,), (long,))
    monkeypatch.setattr(Fleet, "carry_out", lambda *_: result)
    credentials = {"headers": basic(long, TOKEN), "environ_overrides": {"REMOTE_ADDR": long}}
    assert opened.post("/hazelcast/switch", json={"cluster": long}, **credentials).status_code == 200
    _assert_lines(caplog, 1)


def test_the_actor_is_printable_in_the_records_of_the_fleet(blue: LocalCluster, green: LocalCluster) -> None:
    ext = HazelcastFailover(admin_auth=lambda request: "ada\x1b[2J\n\ud800" + "x" * 1000)
    flask_app = make_app(blue, green, ext=ext)
    with client_of(flask_app):
        visitor = flask_app.test_client()
        assert visitor.post("/hazelcast/switch", json={"cluster": "green"}).status_code == 200
        with flask_app.app_context():
            by = ext.steering.status()["fleet"]["desired"]["by"]
    assert by.startswith("ada\\x1b[2J\\n\\ud800xxx") and len(by) == 256


def test_lines_of_refused_requests_cannot_be_forged(
    opened: FlaskClient, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    short = text[: 10**6]
    environ = {"REMOTE_ADDR": short, "HTTP_ORIGIN": short, "HTTP_SEC_FETCH_SITE": short}
    for credentials, status in ((f"Bearer {TOKEN}", 403), (f"Bearer {short}", 401)):
        path = f"/hazelcast/{short}".encode("utf-8", "replace").decode("latin-1")
        sent = environ | {"HTTP_AUTHORIZATION": credentials}
        response = opened.post("/hazelcast/reset", environ_overrides=sent)
        assert short not in assert_problem(response, status)["detail"]
        elsewhere = opened.get("/hazelcast/", environ_overrides=sent | {"PATH_INFO": path})
        assert len(elsewhere.data) < 1000
    _assert_lines(caplog, None)


def test_a_problem_of_the_app_is_printable_and_bounded(text: str) -> None:
    flask_app = Flask("shop")
    flask_app.config["HAZELCAST_FAILOVER_CLUSTERS"] = absent("blue")

    def admin_auth(request: Request) -> str:
        abort(403, description=text)

    HazelcastFailover(admin_auth=admin_auth).init_app(flask_app)
    detail = assert_problem(flask_app.test_client().get("/hazelcast/status"), 403)["detail"]
    assert detail.isprintable() and len(detail) <= 2048


def _assert_lines(caplog: pytest.LogCaptureFixture, count: int | None) -> None:
    lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert lines and count in (None, len(lines))
    assert all(line.isprintable() and len(line) <= 2048 for line in lines)


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
