"""Failed sign-ins are limited by address; other requests are not."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from flask_hazelcast_failover._admin.sign_ins import FailedSignIns
from tests.support.apps import TOKEN, absent, make_app

ALLOWED = 20
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wrong"}


def test_an_address_that_guesses_is_blocked() -> None:
    http = _http()
    assert {_status(http, WRONG) for _ in range(ALLOWED)} == {401}
    answer = http.get("/hazelcast/status", headers=RIGHT)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.mimetype == "application/problem+json"


def test_other_addresses_are_not_blocked() -> None:
    http = _http()
    for _ in range(ALLOWED):
        _status(http, WRONG)
    assert _status(http, RIGHT, REMOTE_ADDR="127.0.0.2") == 200


def test_requests_without_credentials_do_not_count() -> None:
    http = _http()
    assert {_status(http, {}) for _ in range(ALLOWED + 5)} == {401}
    assert _status(http, RIGHT) == 200
    for _ in range(ALLOWED):
        _status(http, WRONG)
    assert http.get("/hazelcast/health/live").status_code == 200


def test_an_address_is_unblocked_after_a_minute() -> None:
    now = [100.0]
    failed = FailedSignIns(lambda: now[0])
    for _ in range(ALLOWED):
        failed.add("127.0.0.1")
    assert failed.blocked_for("127.0.0.1") == 60.0
    now[0] += 60.0
    assert failed.blocked_for("127.0.0.1") == 0.0


def _http() -> FlaskClient:
    return make_app(absent("blue"), ADMIN_TOKEN=TOKEN).test_client()


def _status(http: FlaskClient, headers: dict[str, str], **environ: Any) -> int:
    return http.get("/hazelcast/status", headers=headers, environ_overrides=environ).status_code
