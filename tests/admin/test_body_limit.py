"""A body that is too long is refused with 413 and is not read."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from flask import Flask, Request, request
from werkzeug.test import TestResponse

from flask_hazelcast_failover import HazelcastFailover
from tests.support.admin import ACTIONS, BEARER, HEALTH, assert_problem
from tests.support.apps import TOKEN, absent, make_app

LIMIT = 64 * 1024
CHUNKED = {"wsgi.input_terminated": True}


class Wire(io.RawIOBase):
    """What a client sends; it counts what is read."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.was_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._content.read(len(buffer))
        buffer[: len(data)] = data
        self.was_read += len(data)
        return len(data)


@pytest.fixture
def flask_app() -> Flask:
    return make_app(absent("blue"), absent("green"), ADMIN_TOKEN=TOKEN, TRY_COUNT=1, WAIT_TIMEOUT=1)


@pytest.mark.parametrize("path", [*ACTIONS, "/hazelcast/status", "/hazelcast/nothing"])
@pytest.mark.parametrize("length", [LIMIT + 1, 60_000_000])
@pytest.mark.parametrize(
    "content_type", ["application/json", "multipart/form-data; boundary=x", "x" * 10_000]
)
def test_a_declared_long_body_is_not_read(
    flask_app: Flask, path: str, length: int, content_type: str
) -> None:
    wire = Wire(b"{}")
    response = _post(flask_app, path, wire, CONTENT_LENGTH=str(length), CONTENT_TYPE=content_type)
    assert_problem(response, 413)
    assert len(response.data) < 1000
    assert wire.was_read == 0


@pytest.mark.parametrize("path", HEALTH)
def test_a_probe_with_a_long_body_is_413(flask_app: Flask, path: str) -> None:
    assert_problem(flask_app.test_client().get(path, data=b"x" * (LIMIT + 1)), 413)


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize("length", [LIMIT + 1, 10 * LIMIT])
@pytest.mark.parametrize("own_limit", [None, LIMIT, 100 * LIMIT])
def test_a_body_of_unknown_length_is_read_to_the_limit(
    flask_app: Flask, path: str, length: int, own_limit: int | None
) -> None:
    flask_app.config["MAX_CONTENT_LENGTH"] = own_limit
    wire = Wire(_reset(length))
    assert_problem(_post(flask_app, path, wire, HTTP_TRANSFER_ENCODING="chunked", **CHUNKED), 413)
    assert wire.was_read <= LIMIT + 1


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("own_limit", [None, 0, 20, 100, 100 * LIMIT])
def test_the_lower_of_two_limits_counts(flask_app: Flask, own_limit: int | None, declared: bool) -> None:
    flask_app.config["MAX_CONTENT_LENGTH"] = own_limit
    limit = LIMIT if own_limit is None else min(own_limit, LIMIT)
    for length, status in ((max(limit, 19), 400 if limit else 413), (limit + 19, 413)):
        wire = Wire(_reset(length))
        sent = {"CONTENT_LENGTH": str(length)} if declared else CHUNKED
        assert_problem(_post(flask_app, "/hazelcast/reset", wire, **sent), status)
        assert wire.was_read <= limit + 1


@pytest.mark.parametrize("sent", [{"CONTENT_LENGTH": str(10 * LIMIT)}, CHUNKED])
def test_admin_auth_cannot_read_a_long_body(sent: dict[str, Any]) -> None:
    def admin_auth(request: Request) -> str:
        return request.form.get("name", "ada")

    flask_app = make_app(absent("blue"), ext=HazelcastFailover(admin_auth=admin_auth))
    wire = Wire(b"name=" + b"x" * 10 * LIMIT)
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    assert_problem(_post(flask_app, "/hazelcast/reset", wire, **(form | sent)), 413)
    assert wire.was_read <= LIMIT + 1


def test_a_long_body_that_the_app_has_read_is_413(flask_app: Flask) -> None:
    flask_app.before_request(lambda: request.get_data() and None)
    assert_problem(_post(flask_app, "/hazelcast/reset", Wire(_reset(10 * LIMIT)), **CHUNKED), 413)


def test_a_long_body_of_a_stranger_is_not_read(flask_app: Flask) -> None:
    wire = Wire(_reset(LIMIT + 1))
    sent = {"CONTENT_LENGTH": str(LIMIT + 1), "HTTP_AUTHORIZATION": "Bearer wrong"}
    assert_problem(_post(flask_app, "/hazelcast/reset", wire, **sent), 401)
    assert wire.was_read == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/hazelcast/switch", {"cluster": "x" * 60_000}),
        ("/hazelcast/switch", {"cluster": "\x1b" * 10_000}),
        ("/hazelcast/switch", {"cluster": "\ud800" * 10_000}),
        ("/hazelcast/reset", {"workers": ["x" * 60_000]}),
        ("/hazelcast/reset", {"workers": [str(number) for number in range(7_000)]}),
        ("/hazelcast/reset", {"x" * 60_000: 1}),
        ("/hazelcast/reset", {"force": "x" * 60_000}),
    ],
    ids=lambda value: str(value)[:40].encode("unicode_escape").decode(),
)
def test_what_is_refused_is_quoted_in_part(
    flask_app: Flask, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    response = flask_app.test_client().post(path, json=body, headers=BEARER)
    detail = assert_problem(response, 400)["detail"]
    assert detail.isprintable() and len(detail) < 2048
    assert "x" * 101 not in detail
    (message,) = (r.getMessage() for r in caplog.records if r.name == "flask_hazelcast_failover.admin")
    assert message.isprintable() and len(message) <= 2048


def test_a_long_unknown_member_is_refused_at_once(flask_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def nearest(name: str, valid: tuple[str, ...]) -> str:
        compared.append(name)
        return valid[0]

    monkeypatch.setattr("flask_hazelcast_failover._admin.requests.nearest", nearest)
    visitor = flask_app.test_client()
    response = visitor.post("/hazelcast/reset", json={"wrkr" * 16_000: 1}, headers=BEARER)
    assert "'workers', 'force'" in assert_problem(response, 400)["detail"]
    assert compared == []
    visitor.post("/hazelcast/reset", json={"wrkrs": 1}, headers=BEARER)
    assert compared == ["wrkrs"]


def test_a_refusal_lists_ten_names_at_most() -> None:
    flask_app = make_app(*(absent(f"c{number:02}") for number in range(13)), ADMIN_TOKEN=TOKEN)
    response = flask_app.test_client().post("/hazelcast/switch", json={"cluster": "red"}, headers=BEARER)
    detail = assert_problem(response, 400)["detail"]
    assert detail.endswith("'c08', 'c09' and 3 more.")


@pytest.mark.parametrize("path", ["/hazelcast", "/hazelcast/", "/hazelcast//status", "/hazelcast/nothing"])
def test_a_query_is_not_repeated(flask_app: Flask, path: str) -> None:
    visitor = flask_app.test_client()
    for headers in ({}, BEARER):
        response = visitor.get(f"{path}?part={'q' * 5000}", headers=headers)
        assert "qqq" not in response.text + str(response.headers)
        assert response.status_code in (200, 401, 404)


def _reset(length: int) -> bytes:
    """A body of this length, which names a process that is not there."""
    return json.dumps({"workers": ["w"]}).encode().ljust(length)


def _post(flask_app: Flask, path: str, wire: Wire, **environ: Any) -> TestResponse:
    sent = {"CONTENT_TYPE": "application/json", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"} | environ
    return flask_app.test_client().post(path, environ_overrides={"wsgi.input": wire} | sent)
