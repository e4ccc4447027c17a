"""Who may use the admin routes, and what is logged."""

import logging
from typing import Any

import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]

from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover._admin.sign_ins import LogThrottle
from tests.support.admin import ACTIONS, BEARER, EVERY_METHOD, HEALTH, STEERING, assert_problem, basic
from tests.support.apps import TOKEN, absent, make_app


@pytest.fixture
def closed() -> FlaskClient:
    """A visitor of an app without token and admin_auth."""
    return make_app(absent("blue")).test_client()


# Closed by default


@pytest.mark.parametrize(
    "path", [*STEERING, "/hazelcast", "/hazelcast/", "/hazelcast/nothing", "/hazelcast/a/b"]
)
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_without_sign_in_only_health_exists(closed: FlaskClient, path: str, method: str) -> None:
    assert_problem(closed.open(path, method=method, headers=BEARER), 404)


def test_without_sign_in_other_routes_are_not_registered() -> None:
    rules = {rule.rule for rule in make_app(absent("blue")).url_map.iter_rules()}
    assert rules.isdisjoint(STEERING)


@pytest.mark.parametrize("path", HEALTH)
def test_health_needs_no_sign_in(closed: FlaskClient, path: str) -> None:
    response = closed.get(path)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    assert closed.head(path).status_code == 200


@pytest.mark.parametrize("path", [*STEERING, *HEALTH, "/hazelcast/"])
def test_without_a_prefix_nothing_is_mounted(path: str) -> None:
    flask_app = make_app(absent("blue"), ADMIN_URL_PREFIX=None, ADMIN_TOKEN=TOKEN)
    response = flask_app.test_client().get(path, headers=BEARER)
    assert (response.status_code, response.mimetype) == (404, "text/html")


def test_the_routes_are_mounted_at_the_prefix() -> None:
    visitor = make_app(absent("blue"), ADMIN_URL_PREFIX="/ops/data-grid", ADMIN_TOKEN=TOKEN).test_client()
    assert visitor.get("/ops/data-grid/status", headers=BEARER).status_code == 200
    assert visitor.get("/ops/data-grid/health/live").status_code == 200
    assert visitor.get("/hazelcast/health/live").status_code == 404


def test_routes_of_the_app_below_the_prefix_stay_its_own() -> None:
    flask_app = make_app(absent("blue"))
    flask_app.add_url_rule("/hazelcast/ours", view_func=lambda: "ours")
    assert flask_app.test_client().get("/hazelcast/ours").text == "ours"


# Sign-in


@pytest.mark.parametrize("path", STEERING)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": f"Bearer {TOKEN}\xff"},
        {"Authorization": TOKEN},
        {"Authorization": f"Digest {TOKEN}"},
        {"Authorization": "Basic not-base64"},
        {"Authorization": "Basic "},
        basic("admin", "wrong"),
        basic("admin", ""),
        basic(TOKEN, ""),
        basic(TOKEN, "wrong"),
    ],
    ids=repr,
)
def test_a_missing_or_wrong_token_is_401(opened: FlaskClient, path: str, headers: dict[str, str]) -> None:
    response = opened.open(path, method="GET" if path.endswith("status") else "POST", headers=headers)
    assert_problem(response, 401)
    challenges = [challenge.split()[0] for challenge in response.headers.getlist("WWW-Authenticate")]
    assert challenges == ["Basic", "Bearer"]
    assert TOKEN not in response.text


@pytest.mark.parametrize(
    "token", [TOKEN, "a=b", "a=b&c==", "with space", "colon:colon", "pässword€", "voilà", "007"]
)
def test_the_token_is_accepted_as_bearer_and_as_password(token: str) -> None:
    visitor = make_app(absent("blue"), ADMIN_TOKEN=token).test_client()
    as_sent = token.encode().decode("latin-1")
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (
            visitor.get("/hazelcast/status", headers={"Authorization": f"{scheme} {as_sent}"}).status_code
            == 200
        )
    for user in ("admin", "", "ädmin"):
        assert visitor.get("/hazelcast/status", headers=basic(user, token)).status_code == 200


def test_admin_auth_decides_who_may_sign_in() -> None:
    def admin_auth(request: Request) -> str | None:
        return request.headers.get("X-User")

    visitor = make_app(absent("blue"), ext=HazelcastFailover(admin_auth=admin_auth)).test_client()
    assert visitor.get("/hazelcast/status", headers={"X-User": "ada"}).status_code == 200
    for headers in ({}, {"X-User": ""}, BEARER):
        response = visitor.get("/hazelcast/status", headers=headers)
        assert_problem(response, 401)
        assert [challenge.split()[0] for challenge in response.headers.getlist("WWW-Authenticate")] == [
            "Bearer"
        ]


def test_a_token_and_admin_auth_can_be_combined() -> None:
    ext = HazelcastFailover(admin_auth=lambda request: request.headers.get("X-User"))
    visitor = make_app(absent("blue"), ext=ext, ADMIN_TOKEN=TOKEN).test_client()
    assert visitor.get("/hazelcast/status", headers={"X-User": "ada"}).status_code == 200
    assert visitor.get("/hazelcast/status", headers=BEARER).status_code == 200
    assert_problem(visitor.get("/hazelcast/status"), 401)


@pytest.mark.parametrize("answer", [True, 1, object(), ["ada"]])
def test_an_admin_auth_that_returns_no_name_is_500(answer: Any) -> None:
    visitor = make_app(absent("blue"), ext=HazelcastFailover(admin_auth=lambda _: answer)).test_client()
    assert_problem(visitor.get("/hazelcast/status"), 500)


def test_an_admin_auth_that_raises_is_500() -> None:
    def broken(request: Request) -> str:
        raise LookupError("the user database failed")

    visitor = make_app(absent("blue"), ext=HazelcastFailover(admin_auth=broken)).test_client()
    assert "database" not in assert_problem(visitor.get("/hazelcast/status"), 500)["detail"]


# Requests of pages


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://localhost"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "something-new"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=repr,
)
def test_an_action_from_another_sites_page_is_403(
    opened: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    assert_problem(opened.post(path, json={"cluster": "green"}, headers=BEARER | headers), 403)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80"},
        {"Origin": "HTTP://LOCALHOST"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=repr,
)
def test_an_action_from_a_program_or_own_page_is_accepted(
    opened: FlaskClient, headers: dict[str, str]
) -> None:
    assert_problem(opened.post("/hazelcast/switch", json={"cluster": "red"}, headers=BEARER | headers), 400)


@pytest.mark.parametrize("protected_first", [True, False])
def test_the_routes_are_exempt_from_csrf_protection(protected_first: bool) -> None:
    flask_app = Flask("shop")
    flask_app.config.update(
        SECRET_KEY="x", HAZELCAST_FAILOVER_CLUSTERS=absent("blue"), HAZELCAST_FAILOVER_ADMIN_TOKEN=TOKEN
    )
    extensions = [CSRFProtect(), HazelcastFailover()]
    for extension in extensions if protected_first else reversed(extensions):
        extension.init_app(flask_app)
    flask_app.add_url_rule("/form", view_func=lambda: "sent", methods=["POST"])
    visitor = flask_app.test_client()
    response = visitor.post("/hazelcast/switch", json={"cluster": "red"}, headers=BEARER)
    assert "red" in assert_problem(response, 400)["detail"]
    assert visitor.post("/form").status_code == 400


# The log


def test_a_refused_action_is_logged_with_user_and_address(
    opened: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of a user's, and a stranger's first."""
    sent: list[tuple[dict[str, str], int, str]] = [
        (basic("ada", "wrong"), 401, "nobody"),
        (basic("ada", TOKEN) | {"Origin": "http://evil.example"}, 403, "ada"),
        (BEARER, 400, "token"),
        (BEARER, 400, "token"),
        (basic(TOKEN, TOKEN), 400, "token"),
    ]
    for headers, status, who in sent:
        caplog.clear()
        response = opened.post(
            "/hazelcast/switch",
            json={"cluster": "red"},
            headers=headers,
            environ_base={"REMOTE_ADDR": "192.0.2.7"},
        )
        assert response.status_code == status
        (record,) = (record for record in caplog.records if record.name == "flask_hazelcast_failover.admin")
        assert record.levelno == logging.WARNING
        for part in ("POST", "/hazelcast/switch", repr(who), "192.0.2.7", str(status)):
            assert part in record.getMessage()
    assert TOKEN not in caplog.text


def test_refused_sign_ins_are_throttled_in_the_log(
    opened: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of actions with the others."""
    wrong = {"Authorization": "Bearer wrong"}
    for path in ["/hazelcast/status", "/hazelcast/", "/hazelcast/openapi.json", "/hazelcast/a%0Ab"] * 50:
        opened.get(path, headers=wrong)
    assert len(_messages(caplog)) == 1
    opened.get("/hazelcast/status", headers=wrong, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    for headers in [wrong, {}] * 15:
        opened.post("/hazelcast/reset", headers=headers)
        opened.post("/hazelcast/reset", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.8"})
    assert [message.partition(" ")[0] for message in _messages(caplog)] == ["GET", "GET", "POST"]


def test_the_next_line_counts_the_suppressed_ones() -> None:
    now = [100.0]
    throttle = LogThrottle(lambda: now[0])
    assert [throttle.next_line("here") for _ in range(4)] == [0, None, None, None]
    assert throttle.next_line("there") == 0
    now[0] += 60.0
    assert [throttle.next_line("here"), throttle.next_line("here"), throttle.next_line("there")] == [
        3,
        None,
        0,
    ]


def test_no_line_of_the_log_can_be_forged(opened: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    opened.post("/hazelcast/switch", json={"cluster": "red\nforged"}, headers=basic("ada\nforged", TOKEN))
    opened.get("/hazelcast/%0Aforged", headers=BEARER)
    messages = _messages(caplog)
    assert len(messages) == 2
    assert not any("\n" in message for message in messages)


def _messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name == "flask_hazelcast_failover.admin"
    ]
