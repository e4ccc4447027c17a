"""Flask-Session on Hazelcast, in a real app: sessions before, during and after a switch."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages
from flask.testing import FlaskClient

from examples.with_flask_session import create_app
from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN, client_of, url_of
from tests.support.clients import client_on
from tests.support.waiting import eventually

SESSIONS = "sessions"


def make(*clusters: LocalCluster) -> Flask:
    return create_app(
        {
            "HAZELCAST_FAILOVER_CLUSTERS": [url_of(cluster) for cluster in clusters],
            "HAZELCAST_FAILOVER_TRY_COUNT": 1,
            "HAZELCAST_FAILOVER_ADMIN_TOKEN": TOKEN,
        }
    )


@pytest.fixture
def app(blue: LocalCluster, green: LocalCluster) -> Iterator[Flask]:
    app = make(blue, green)
    with client_of(app):
        yield app


@pytest.fixture
def visitor(client: FlaskClient) -> FlaskClient:
    assert client.post("/sign-in/ada").status_code == 200
    return client


def user(visitor: FlaskClient) -> object:
    answer = visitor.get("/")
    assert answer.status_code == 200
    return answer.get_json()["user"]


def share(source: LocalCluster, target: LocalCluster) -> None:
    """Copy the sessions, as WAN replication does."""
    with client_on(source) as source_client, client_on(target) as target_client:
        entries: dict[str, Any] = dict(source_client.get_map(SESSIONS).blocking().entry_set())
        assert entries
        sessions: Any = target_client.get_map(SESSIONS).blocking()
        sessions.put_all(entries)


def switch(app: Flask, label: str) -> None:
    with app.app_context():
        client: HazelcastClient = app.extensions["hazelcast_failover"].client
        client.switch_to(label)


def test_a_session_belongs_to_one_visitor(app: Flask, visitor: FlaskClient) -> None:
    assert user(visitor) == "ada"
    assert user(app.test_client()) is None


def test_flashed_messages_survive_the_session(app: Flask) -> None:
    @app.get("/flash")
    def leave() -> str:
        flash("saved", "good")
        return ""

    @app.get("/flashed")
    def take() -> list[list[str]]:
        return [list(message) for message in get_flashed_messages(with_categories=True)]

    visitor = app.test_client()
    visitor.get("/flash")
    assert visitor.get("/flashed").json == [["good", "saved"]]
    assert visitor.get("/flashed").json == []


def test_a_session_survives_a_switch_with_shared_data(
    app: Flask, visitor: FlaskClient, blue: LocalCluster, green: LocalCluster
) -> None:
    share(blue, green)
    switch(app, "green")
    assert user(visitor) == "ada"


def test_a_switch_without_shared_data_begins_a_new_session(app: Flask, visitor: FlaskClient) -> None:
    switch(app, "green")
    assert user(visitor) is None
    assert visitor.post("/sign-in/grace").status_code == 200
    assert user(visitor) == "grace"


def test_pages_are_served_while_clusters_are_down(
    pair: tuple[LocalCluster, LocalCluster],
) -> None:
    app = make(*pair)
    visitor, operator = app.test_client(), {"Authorization": f"Bearer {TOKEN}"}
    with client_of(app) as client:
        visitor.post("/sign-in/ada")
        share(*pair)
        pair[0].kill()
        assert user(visitor) == "ada"
        pair[1].kill()
        eventually(lambda: client.status().state == "offline", within=10.0)
        assert user(visitor) is None
        assert visitor.post("/sign-in/grace").status_code == 200
        assert user(visitor) is None
        assert visitor.get("/hazelcast/", headers=operator).status_code == 200
        assert visitor.get("/hazelcast/status", headers=operator).get_json()["state"] == "offline"
        assert visitor.get("/hazelcast/health").get_json() == {"status": "down"}
        assert visitor.get("/hazelcast/health/live").status_code == 200
        pair[0].restart()
        eventually(lambda: client.status().state == "connected", within=10.0)
        visitor.post("/sign-in/grace")
        assert user(visitor) == "grace"
