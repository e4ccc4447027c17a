"""Flask-Session on Hazelcast, in a real app: sessions before, during and after a switch."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, flash, get_flashed_messages
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from flask_caching import Cache
from flask_session import Session  # type: ignore[import-untyped]

from examples.with_flask_session import create_app
from flask_hazelcast_failover import HazelcastClient, HazelcastFailover
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN, absent, client_of, url_of
from tests.support.clients import client_on
from tests.support.waiting import eventually

SESSIONS = "sessions"


def make(*clusters: LocalCluster) -> Flask:
    return make_with(*(url_of(cluster) for cluster in clusters))


def make_with(*urls: str, **config: Any) -> Flask:
    return create_app(
        {
            "HAZELCAST_FAILOVER_CLUSTERS": list(urls),
            "HAZELCAST_FAILOVER_TRY_COUNT": 1,
            "HAZELCAST_FAILOVER_ADMIN_TOKEN": TOKEN,
        }
        | config
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


def test_a_visitor_stays_signed_in_over_an_outage(pair: tuple[LocalCluster, LocalCluster]) -> None:
    """Requests in the outage get 503 with Retry-After, also those that would begin a session, and keep the cookie."""
    app = make(*pair)
    visitor, stranger, operator = app.test_client(), app.test_client(), {"Authorization": f"Bearer {TOKEN}"}
    with client_of(app) as client:
        visitor.post("/sign-in/ada")
        assert user(visitor) == "ada"
        pair[0].freeze()  # keeps what it holds
        pair[1].kill()
        eventually(lambda: client.status().state == "offline", within=20.0)
        for answer in (
            visitor.get("/"),
            visitor.post("/sign-in/ada"),
            visitor.get("/nowhere"),
            stranger.post("/sign-in/grace"),
        ):
            assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "2")
            assert "Set-Cookie" not in answer.headers
        assert user(stranger) is None
        assert visitor.get("/hazelcast/", headers=operator).status_code == 200
        assert visitor.get("/hazelcast/status", headers=operator).get_json()["state"] == "offline"
        assert visitor.get("/hazelcast/health").get_json() == {"status": "down"}
        assert visitor.get("/hazelcast/health/live").status_code == 200
        pair[0].thaw()
        eventually(lambda: client.status().state == "connected", within=20.0)
        assert user(visitor) == "ada"


@pytest.mark.parametrize("testing", [False, True])
def test_without_a_cluster_a_session_is_refused(testing: bool) -> None:
    """With 503, whether it is to be loaded or to be saved."""
    app = make_with(absent("blue"), TESTING=testing)
    with client_of(app):
        visitor = app.test_client()
        assert visitor.post("/sign-in/ada").status_code == 503
        visitor.set_cookie("session", "of-another-day")
        answer = visitor.get("/")
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "2")
        assert "Set-Cookie" not in answer.headers


WARNING = "when_offline='raise'"


def _flask_session(app: Flask, cache: Any) -> None:
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=cache)
    Session(app)


def _own_interface(app: Flask, cache: Any) -> None:
    class Interface(SecureCookieSessionInterface):
        store = cache

    app.session_interface = Interface()


def _flask_caching(app: Flask, cache: Any) -> None:
    app.config["CACHE_TYPE"] = f"{HazelcastCache.__module__}.HazelcastCache"
    _flask_session(app, Cache(app))


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("give", [_flask_session, _own_interface, _flask_caching])
def test_an_app_whose_sessions_would_be_lost_is_warned_once(
    caplog: pytest.LogCaptureFixture, give: Any, is_first: bool
) -> None:
    """At its first request at the latest, whichever extension is initialised first."""
    ext, app = HazelcastFailover(), Flask("shop")
    app.config["HAZELCAST_FAILOVER_CLUSTERS"] = [absent("blue")]
    steps = [lambda: ext.init_app(app), lambda: give(app, HazelcastCache(ext, map_name="sessions"))]
    for step in steps if is_first else reversed(steps):
        step()
    with client_of(app):
        for _ in range(3):
            app.test_client().get("/")
    warnings = [one.getMessage() for one in caplog.records if WARNING in one.getMessage()]
    assert len(warnings) == 1 and "'shop'" in warnings[0]


def test_an_app_without_the_extension_is_warned_too(
    caplog: pytest.LogCaptureFixture, away: HazelcastClient
) -> None:
    """When it first uses the cache in a request."""
    app = Flask("bare")
    _flask_session(app, HazelcastCache(away))
    visitor = app.test_client()
    visitor.set_cookie("session", "of-another-day")
    for _ in range(3):
        visitor.get("/")
    assert sum(WARNING in one.getMessage() for one in caplog.records) == 1


def test_sessions_that_raise_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a cache that holds no sessions."""
    app = make_with(absent("blue"))
    cache = HazelcastCache(app.extensions["hazelcast_failover"])
    app.add_url_rule("/cached", view_func=lambda: str(cache.get("key")))
    with client_of(app):
        assert app.test_client().get("/cached").text == "None"
    assert not any(WARNING in one.getMessage() for one in caplog.records)
