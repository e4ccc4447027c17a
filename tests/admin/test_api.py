"""The answers of the admin routes, and which requests they refuse."""

import logging
import os
import socket
from collections.abc import Iterator

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.admin import ACTIONS, BEARER, EVERY_METHOD, HEALTH, assert_problem
from tests.support.apps import TOKEN, absent, client_of, make_app
from tests.support.waiting import eventually


@pytest.fixture
def flask_app(blue: LocalCluster, green: LocalCluster) -> Flask:
    """An app on two running clusters, blue first."""
    return make_app(blue, green, ADMIN_TOKEN=TOKEN)


@pytest.fixture
def hazelcast(flask_app: Flask) -> Iterator[HazelcastClient]:
    """The client of that app, which has not connected yet."""
    with client_of(flask_app) as hazelcast:
        yield hazelcast


@pytest.fixture
def operator(flask_app: Flask, hazelcast: HazelcastClient) -> FlaskClient:
    """A visitor with the token."""
    operator = flask_app.test_client()
    operator.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return operator


# Refused requests


@pytest.mark.parametrize("path", [*ACTIONS, *HEALTH, "/hazelcast/status"])
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_another_method_is_405_with_the_allowed_ones(opened: FlaskClient, path: str, method: str) -> None:
    allowed = {"POST"} if path in ACTIONS else {"GET", "HEAD"}
    if method not in allowed:
        response = opened.open(path, method=method, headers=BEARER)
        assert_problem(response, 405)
        assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/hazelcast/nothing", "/hazelcast/status/", "/hazelcast/a/b"])
def test_an_unknown_path_is_a_404_problem(opened: FlaskClient, path: str) -> None:
    assert_problem(opened.get(path, headers=BEARER), 404)
    assert_problem(opened.get(path), 401)


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("application/x-www-form-urlencoded", b""),
        ("application/x-www-form-urlencoded", b"cluster=green"),
        ("multipart/form-data; boundary=x", b""),
        ("text/plain", b'{"cluster": "green"}'),
        ("text/plain", b""),
        ("", b'{"cluster": "green"}'),
        ("application/jsonp", b"{}"),
    ],
)
def test_an_action_takes_json_only(opened: FlaskClient, path: str, content_type: str, data: bytes) -> None:
    assert_problem(opened.post(path, data=data, content_type=content_type, headers=BEARER), 415)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *(
            (path, body)
            for path in ACTIONS
            for body in ["{", "[]", '"green"', "null", "5", "\xff", "[" * 60_000]
        ),
        *(
            (path, body)
            for path in ACTIONS
            for body in ['{"force": 1}', '{"force": "true"}', '{"force": null}']
        ),
        *(
            (path, body)
            for path in ACTIONS
            for body in ['{"workers": []}', '{"workers": "me"}', '{"workers": [1]}']
        ),
        *((path, body) for path in ACTIONS for body in ['{"workers": null}', '{"workers": {"me": 1}}']),
        ("/hazelcast/reset", '{"cluster": "green"}'),
        ("/hazelcast/reset", '{"forse": true}'),
        ("/hazelcast/reset", '{"workers": ["nobody"]}'),
        ("/hazelcast/switch", ""),
        ("/hazelcast/switch", "{}"),
        ("/hazelcast/switch", '{"cluster": null}'),
        ("/hazelcast/switch", '{"cluster": 1}'),
        ("/hazelcast/switch", '{"cluster": "red"}'),
        ("/hazelcast/switch", '{"cluster": "Green"}'),
        ("/hazelcast/switch", '{"cluster": "green", "label": "green"}'),
        ("/hazelcast/switch", '{"cluster": "green", "workers": ["nobody"]}'),
    ],
    ids=lambda value: value[:40],
)
def test_a_malformed_body_is_400(opened: FlaskClient, path: str, body: str) -> None:
    data = body.encode("latin-1")
    assert_problem(opened.post(path, data=data, content_type="application/json", headers=BEARER), 400)


def test_an_unknown_member_is_named_with_the_nearest_valid_one(opened: FlaskClient) -> None:
    problem = assert_problem(opened.post("/hazelcast/reset", json={"forse": True}, headers=BEARER), 400)
    assert "'forse'" in problem["detail"] and "'force'" in problem["detail"]


def test_an_unknown_label_is_named_with_the_valid_ones(opened: FlaskClient) -> None:
    problem = assert_problem(opened.post("/hazelcast/switch", json={"cluster": "red"}, headers=BEARER), 400)
    assert all(name in problem["detail"] for name in ("'red'", "'blue'", "'green'"))


def test_an_abort_in_before_request_is_a_problem_too() -> None:
    flask_app = make_app(absent("blue"))
    flask_app.before_request(lambda: abort(429))
    assert_problem(flask_app.test_client().get("/hazelcast/health"), 429)


# On running clusters


def test_status_describes_clusters_and_fleet(hazelcast: HazelcastClient, operator: FlaskClient) -> None:
    hazelcast.start()
    eventually(lambda: {cluster.state for cluster in hazelcast.status().clusters} == {"active", "standby"})
    reported = hazelcast.status().as_dict()
    status = operator.get("/hazelcast/status").get_json()
    assert status.keys() == reported.keys() | {"fleet"}
    assert status.keys() == {
        "worker",
        "state",
        "current_cluster",
        "current_index",
        "on_primary",
        "epoch",
        "clusters",
        "history",
        "fleet",
    }
    assert (status["state"], status["current_cluster"], status["current_index"]) == ("connected", "blue", 0)
    assert (status["on_primary"], status["epoch"], status["history"]) == (True, 1, [])
    for cluster in status["clusters"]:
        assert cluster.keys() == {
            "label",
            "cluster_name",
            "index",
            "priority",
            "addresses",
            "members",
            "state",
            "impaired",
            "restarted",
            "latency_ms",
            "last_error",
        }
    fleet = status["fleet"]
    assert fleet == {
        "name": fleet["name"],
        "workers": [
            {
                "id": status["worker"],
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "current_cluster": "blue",
                "epoch": 1,
            }
        ],
        "desired": None,
        "split": False,
    }
    assert "shop" in fleet["name"]


def test_status_does_not_connect() -> None:
    visitor = make_app(absent("blue"), ADMIN_TOKEN=TOKEN, FLEET="shop-eu").test_client()
    for _ in range(2):
        status = visitor.get("/hazelcast/status", headers=BEARER).get_json()
        assert (status["state"], status["current_cluster"], status["epoch"]) == ("idle", None, 0)
        assert status["fleet"]["name"] == "shop-eu"


def test_switch_and_reset_move_the_process(operator: FlaskClient) -> None:
    worker = operator.get("/hazelcast/status").get_json()["worker"]
    there = operator.post("/hazelcast/switch", json={"cluster": "green"})
    assert (there.status_code, there.headers["Cache-Control"]) == (200, "no-store")
    assert there.get_json() == {"generation": 1, "told": [worker], "done": [worker], "missing": []}
    status = operator.get("/hazelcast/status").get_json()
    assert (status["current_cluster"], status["on_primary"]) == ("green", False)
    assert operator.get("/hazelcast/health").get_json() == {"status": "degraded"}

    back = operator.post("/hazelcast/reset")
    assert back.get_json() == {"generation": 2, "told": [worker], "done": [worker], "missing": []}
    status = operator.get("/hazelcast/status").get_json()
    assert (status["current_cluster"], status["on_primary"]) == ("blue", True)
    assert operator.get("/hazelcast/health").get_json() == {"status": "ok"}
    (last,) = [entry for entry in status["history"] if entry["current"] == "blue"]
    assert (last["previous"], last["reason"]) == ("green", "manual")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"force": false}', b'{"force": true}'])
def test_the_body_of_a_reset_is_optional(operator: FlaskClient, body: bytes) -> None:
    response = operator.post("/hazelcast/reset", data=body, content_type="application/json")
    assert response.status_code == 200 and response.get_json()["missing"] == []


def test_an_action_can_name_the_worker(operator: FlaskClient) -> None:
    worker = operator.get("/hazelcast/status").get_json()["worker"]
    response = operator.post("/hazelcast/switch", json={"cluster": "green", "workers": [worker, worker]})
    assert response.get_json()["done"] == [worker]
    assert_problem(operator.post("/hazelcast/reset", json={"workers": [worker, "nobody"]}), 400)
    assert operator.get("/hazelcast/status").get_json()["current_cluster"] == "green"


def test_a_switch_to_an_unreachable_cluster_is_409(green: LocalCluster) -> None:
    """Nothing has changed then."""
    flask_app = make_app(absent("blue"), green, ADMIN_TOKEN=TOKEN, TRY_COUNT=1)
    visitor = flask_app.test_client()
    with client_of(flask_app) as hazelcast:
        hazelcast.start()
        before = visitor.get("/hazelcast/status", headers=BEARER).get_json()
        assert before["current_cluster"] == "green"
        for path, body in (("/hazelcast/switch", {"cluster": "blue"}), ("/hazelcast/reset", {})):
            problem = assert_problem(visitor.post(path, json=body, headers=BEARER), 409)
            assert "blue" in problem["detail"]
            forced = visitor.post(path, json=body | {"force": True}, headers=BEARER).get_json()
            assert (forced["told"], forced["done"]) == ([before["worker"]], [])
            assert forced["missing"] == [before["worker"]]
        after = visitor.get("/hazelcast/status", headers=BEARER).get_json()
        assert (after["current_cluster"], after["epoch"]) == ("green", before["epoch"])


def test_health_of_an_idle_process_starts_connecting(operator: FlaskClient) -> None:
    assert operator.get("/hazelcast/health").get_json() == {"status": "idle"}
    eventually(lambda: operator.get("/hazelcast/health").get_json() == {"status": "ok"})
    assert operator.get("/hazelcast/status").get_json()["current_cluster"] == "blue"


def test_health_is_503_when_no_cluster_can_be_reached() -> None:
    """The liveness probe succeeds."""
    flask_app = make_app(absent("blue"), absent("green"), TRY_COUNT=1)
    visitor = flask_app.test_client()
    with client_of(flask_app):
        assert visitor.get("/hazelcast/health").get_json() == {"status": "idle"}
        eventually(lambda: visitor.get("/hazelcast/health").status_code == 503)
        assert visitor.get("/hazelcast/health").get_json() == {"status": "down"}
        assert visitor.get("/hazelcast/health/live").status_code == 200


def test_an_action_after_shutdown_is_409(hazelcast: HazelcastClient, operator: FlaskClient) -> None:
    hazelcast.start().shutdown()
    assert_problem(operator.post("/hazelcast/reset"), 409)
    assert operator.get("/hazelcast/health").status_code == 503


def test_an_action_is_logged_with_user_and_address(
    operator: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    operator.post("/hazelcast/switch", json={"cluster": "green"}, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    (record,) = (record for record in caplog.records if record.name == "flask_hazelcast_failover.admin")
    assert record.levelno == logging.WARNING  # logged even where no level is set
    for part in ("switch", "'green'", "'token'", "192.0.2.7"):
        assert part in record.getMessage()
    assert TOKEN not in caplog.text
