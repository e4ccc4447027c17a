"""Failed sign-ins are limited by address; the right token and other requests are not."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import pytest
from flask import Request
from flask.testing import FlaskClient

from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover._admin.sign_ins import FailedSignIns, LogThrottle
from tests.support.apps import TOKEN, absent, make_app

ALLOWED = 20
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


def test_an_address_that_guesses_is_blocked() -> None:
    http = _blocked(make_app(absent("blue"), ADMIN_TOKEN=TOKEN).test_client())
    answer = http.get("/hazelcast/status", headers=WRONG)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.mimetype == "application/problem+json"


def test_the_right_token_gets_in_from_a_blocked_address() -> None:
    """Behind a proxy all clients have one address: strangers must not bar a reset."""
    http = _blocked(_http())
    as_password = base64.b64encode(f"ada:{TOKEN}".encode()).decode()
    for headers in (RIGHT, {"Authorization": f"Basic {as_password}"}):
        assert _status(http, headers) == 200
        assert http.post("/hazelcast/switch", json={"cluster": "red"}, headers=headers).status_code == 400
    assert _status(http, WRONG) == 429


def test_a_browser_at_a_blocked_address_is_asked_for_the_token() -> None:
    answer = _blocked(_http()).get("/hazelcast/")
    assert answer.status_code == 401
    assert "Basic" in answer.headers["WWW-Authenticate"]


def test_other_addresses_are_not_blocked() -> None:
    assert _status(_blocked(_http()), WRONG, REMOTE_ADDR="127.0.0.2") == 401


def test_requests_without_credentials_do_not_count() -> None:
    http = _http()
    assert {_status(http, {}) for _ in range(ALLOWED + 5)} == {401}
    assert _status(http, WRONG) == 401
    assert _blocked(http).get("/hazelcast/health/live").status_code == 200


@pytest.mark.parametrize("credentials", [WRONG, {}, {"X-User": "ada"}], ids=repr)
def test_admin_auth_is_not_asked_for_a_blocked_address(credentials: dict[str, str]) -> None:
    asked: list[Request] = []
    http = make_app(absent("blue"), ext=_asks(asked)).test_client()
    assert _status(http, {"X-User": "ada"}) == 200
    _blocked(http)
    assert len(asked) == ALLOWED + 1
    answer = http.get("/hazelcast/status", headers=credentials)
    assert (answer.status_code, len(asked)) == (429, ALLOWED + 1)
    assert _status(http, {"X-User": "ada"}, REMOTE_ADDR="127.0.0.2") == 200


def test_the_token_gets_in_when_admin_auth_is_not_asked() -> None:
    asked: list[Request] = []
    http = _blocked(make_app(absent("blue"), ext=_asks(asked), ADMIN_TOKEN=TOKEN).test_client())
    assert _status(http, RIGHT) == 200
    assert _status(http, WRONG) == 429
    assert len(asked) == ALLOWED


@pytest.mark.parametrize(
    "sent",
    ["Bearer wr\xf6ng", "Bearer \udcff\ud800", "Bearer €", "Basic \ud800", "Bearer \x00", "Basic w6Q6w6Q="],
    ids=ascii,
)
@pytest.mark.parametrize("token", [TOKEN, "pässword€"])
def test_a_guess_of_any_characters_is_401(token: str, sent: str) -> None:
    http = make_app(absent("blue"), ADMIN_TOKEN=token).test_client()
    assert _status(http, {}, HTTP_AUTHORIZATION=sent) == 401


def test_a_token_is_not_matched_by_what_cannot_be_encoded() -> None:
    http = make_app(absent("blue"), ADMIN_TOKEN="what?").test_client()
    assert _status(http, {}, HTTP_AUTHORIZATION="Bearer what€") == 401


def test_an_address_is_unblocked_after_a_minute() -> None:
    now = [100.0]
    failed = FailedSignIns(lambda: now[0])
    for _ in range(ALLOWED):
        failed.add("127.0.0.1")
    assert failed.blocked_for("127.0.0.1") == 60.0
    now[0] += 60.0
    assert failed.blocked_for("127.0.0.1") == 0.0


def test_addresses_of_any_length_take_little_memory() -> None:
    """A proxy may pass on whatever a client calls its address."""
    failed, throttle = FailedSignIns(), LogThrottle()
    tracemalloc.start()
    try:
        for number in range(20):
            failed.add(chr(97 + number) * 10**6)
            throttle.next_line(chr(97 + number) * 10**6)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 10**6


def test_a_long_address_that_guesses_is_blocked() -> None:
    http, address = _http(), "\x1b" * 10**6
    assert {_status(http, WRONG, REMOTE_ADDR=address) for _ in range(ALLOWED)} == {401}
    assert _status(http, WRONG, REMOTE_ADDR=address) == 429


def test_a_flood_of_addresses_takes_little_memory() -> None:
    failed, throttle = FailedSignIns(), LogThrottle()
    tracemalloc.start()
    try:
        for number in range(40_000):
            failed.add(f"2001:db8::{number:x}")
            throttle.next_line(f"2001:db8::{number:x}")
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 20 * 10**6


def _http() -> FlaskClient:
    return make_app(absent("blue"), ADMIN_TOKEN=TOKEN).test_client()


def _asks(asked: list[Request]) -> HazelcastFailover:
    def admin_auth(request: Request) -> str | None:
        asked.append(request)
        return request.headers.get("X-User")

    return HazelcastFailover(admin_auth=admin_auth)


def _blocked(http: FlaskClient) -> FlaskClient:
    assert {_status(http, WRONG) for _ in range(ALLOWED)} <= {401, 429}
    return http


def _status(http: FlaskClient, headers: dict[str, str], **environ: Any) -> int:
    return http.get("/hazelcast/status", headers=headers, environ_overrides=environ).status_code
