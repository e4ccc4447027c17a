"""HazelcastFailover: set up without a network, one client per app, clear errors for wrong use."""

import gc
import select
import socket
import threading
import weakref
from collections.abc import Callable, Iterator

import dns.resolver
import pytest
from flask import Flask, Request, Response
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from hazelcast.errors import ClientOfflineError, HazelcastError
from hazelcast.proxy.map import BlockingMap
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from flask_hazelcast_failover import ClientOfflineException, HazelcastFailover, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import TOKEN, absent, client_of, make_app, url_of
from tests.support.waiting import eventually


@pytest.fixture
def ext() -> HazelcastFailover:
    return HazelcastFailover()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that must not be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_init_app_and_ext_client_touch_no_network(
    ext: HazelcastFailover, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lookup() -> dns.resolver.Resolver:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(dns.resolver, "get_default_resolver", no_lookup)
    threads = threading.active_count()
    port = listening.getsockname()[1]
    flask_app = make_app(
        f"hazelcast://blue@127.0.0.1:{port}",
        "hazelcast+cname://green@green.invalid",
        ext=ext,
        ADMIN_TOKEN=TOKEN,
    )
    with flask_app.app_context():
        users: BlockingMap[str, str] = ext.client.get_map("users").blocking()
        assert users.name == "users"
    assert threading.active_count() == threads
    readable, _, _ = select.select([listening], [], [], 0.2)
    assert not readable


def test_the_app_is_given_at_once_or_later() -> None:
    flask_app = Flask(__name__)
    flask_app.config["HAZELCAST_FAILOVER_CLUSTERS"] = absent("blue")
    ext = HazelcastFailover(flask_app)
    assert flask_app.extensions["hazelcast_failover"] is ext

    ext = HazelcastFailover()
    assert make_app(absent("blue"), ext=ext).extensions["hazelcast_failover"] is ext


@pytest.mark.parametrize("admin_auth", ["token", True, {"user": "password"}])
def test_an_admin_auth_that_is_not_callable_is_refused(admin_auth: object) -> None:
    with pytest.raises(
        TypeError, match=f"admin_auth must be a callable or None, not a {type(admin_auth).__name__}"
    ):
        HazelcastFailover(admin_auth=admin_auth)  # type: ignore[arg-type]


def test_an_app_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(TypeError, match="app must be a Flask app, not a str"):
        HazelcastFailover("shop")  # type: ignore[arg-type]


def test_a_second_init_app_is_refused(ext: HazelcastFailover) -> None:
    flask_app = make_app(absent("blue"), ext=ext)
    for again in (ext, HazelcastFailover()):
        with pytest.raises(RuntimeError, match=r"init_app.*once"):
            again.init_app(flask_app)
    assert flask_app.extensions["hazelcast_failover"] is ext


def test_outside_an_app_context_the_error_says_so(ext: HazelcastFailover) -> None:
    make_app(absent("blue"), ext=ext)
    with pytest.raises(RuntimeError, match="outside an app context") as refusal:
        ext.client  # noqa: B018
    assert "init_app" not in str(refusal.value)


def test_without_init_app_the_error_says_so(ext: HazelcastFailover) -> None:
    with (
        Flask("forgotten").app_context(),
        pytest.raises(RuntimeError, match=r"init_app\(\).*'forgotten'") as refusal,
    ):
        ext.client  # noqa: B018
    assert "outside an app context" not in str(refusal.value)


def test_with_another_extension_the_error_says_so(ext: HazelcastFailover) -> None:
    flask_app = make_app(absent("blue"))
    with flask_app.app_context(), pytest.raises(RuntimeError, match="another HazelcastFailover has it"):
        ext.client  # noqa: B018


def test_each_app_has_one_client(ext: HazelcastFailover) -> None:
    first, second = make_app(absent("blue"), ext=ext), make_app(absent("blue"), ext=ext)
    with first.app_context():
        client = ext.client
        assert ext.client is client
    with first.app_context():
        assert ext.client is client
    with second.app_context():
        assert ext.client is not client
        with first.app_context():
            assert ext.client is client


def test_a_collected_app_shuts_its_client_down(ext: HazelcastFailover, blue: LocalCluster) -> None:
    flask_app = make_app(blue, ext=ext, ADMIN_TOKEN=TOKEN)
    with flask_app.app_context():
        client = ext.client.start()
    app_of = weakref.ref(flask_app)
    del flask_app
    gc.collect()
    assert app_of() is None
    eventually(lambda: client.status().state == "closed")


def test_a_request_uses_the_cluster_that_the_configuration_names(
    blue: LocalCluster, green: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ext = HazelcastFailover()

    def create_app() -> Flask:
        flask_app = Flask(__name__)
        flask_app.config.from_prefixed_env()
        ext.init_app(flask_app)

        @flask_app.get("/visits")
        def visits() -> dict[str, object]:
            counters: BlockingMap[str, int] = ext.client.get_map("extension-visits").blocking()
            return {"visits": counters.get("total")}

        return flask_app

    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_CLUSTERS", f"{url_of(blue)} {url_of(green)}")
    flask_app = create_app()
    with client_of(flask_app) as client:
        counters: BlockingMap[str, int] = client.get_map("extension-visits").blocking()
        counters.set("total", 42)
        assert flask_app.test_client().get("/visits").get_json() == {"visits": 42}
        assert client.status().current_cluster == "blue"


def test_the_settings_reach_the_client(blue: LocalCluster) -> None:
    with client_of(make_app(blue, CLIENT_OPTIONS={"client_name": "shop-window"})) as client:
        assert client.start().name == "shop-window"


def offline_app(error: Exception) -> Flask:
    flask_app = make_app(absent("blue"))

    @flask_app.get("/")
    def fail() -> str:
        raise error

    return flask_app


OFFLINE = ClientOfflineException("blue (10.0.0.1:5701): refused")


def test_an_app_starts_while_every_cluster_is_down(
    ext: HazelcastFailover,
) -> None:
    """It answers 503 with Retry-After."""
    flask_app = make_app(absent("blue"), absent("green"), ext=ext, TRY_COUNT=1, WAIT_TIMEOUT=2)

    @flask_app.get("/")
    def index() -> str:
        counters: BlockingMap[str, int] = ext.client.get_map("visits").blocking()
        return str(counters.get("total"))

    with client_of(flask_app):
        for _ in range(2):
            response = flask_app.test_client().get("/")
            assert response.status_code == 503
            assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("testing", [True, False])
def test_an_unhandled_offline_error_shows_no_internals(testing: bool) -> None:
    flask_app = offline_app(OFFLINE)
    flask_app.testing = testing
    response = flask_app.test_client().get("/")
    assert (response.status_code, response.mimetype) == (503, "text/html")
    assert int(response.headers["Retry-After"]) > 0
    assert "10.0.0.1" not in response.text and "blue" not in response.text


class Unreachable(SecureCookieSessionInterface):
    """Sessions in a cluster that is down."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        raise OFFLINE


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("where", ["after_request", "open_session"])
def test_an_offline_error_outside_of_views_is_503_too(where: str, testing: bool) -> None:
    flask_app = make_app(absent("blue"))
    flask_app.testing = testing
    flask_app.add_url_rule("/", view_func=lambda: "well")
    if where == "after_request":
        flask_app.after_request(lambda _: raising(OFFLINE)())
    else:
        flask_app.session_interface = Unreachable()
    response = flask_app.test_client().get("/")
    assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0


def test_an_app_handler_that_fails_itself_is_500() -> None:
    flask_app = offline_app(OFFLINE)
    flask_app.testing = False
    flask_app.register_error_handler(ClientOfflineException, lambda _: raising(OFFLINE)())
    assert flask_app.test_client().get("/").status_code == 500


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
def test_a_program_gets_a_problem_document(accept: str) -> None:
    response = offline_app(OFFLINE).test_client().get("/", headers={"Accept": accept})
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert int(response.headers["Retry-After"]) > 0
    assert response.get_json()["status"] == 503


@pytest.mark.parametrize("kind", [ClientOfflineException, ClientOfflineError, HazelcastError, Exception])
def test_an_app_handler_for_the_error_wins(kind: type[Exception]) -> None:
    flask_app = offline_app(OFFLINE)
    flask_app.register_error_handler(kind, lambda error: (f"ours: {type(error).__name__}", 418))
    response = flask_app.test_client().get("/")
    assert (response.status_code, response.text) == (418, "ours: ClientOfflineException")


def test_an_app_handler_registered_before_wins() -> None:
    flask_app = Flask(__name__)
    flask_app.config["HAZELCAST_FAILOVER_CLUSTERS"] = absent("blue")

    @flask_app.errorhandler(ClientOfflineException)
    def ours(error: ClientOfflineException) -> tuple[str, int]:
        return "ours", 418

    HazelcastFailover(flask_app)
    flask_app.add_url_rule("/", view_func=raising(OFFLINE))
    assert flask_app.test_client().get("/").status_code == 418


@pytest.mark.parametrize("kind", [503, ServiceUnavailable, HTTPException])
def test_an_app_handler_for_503_gets_retry_after(kind: type[Exception] | int) -> None:
    flask_app = offline_app(OFFLINE)
    flask_app.register_error_handler(kind, lambda _: ("our page", 503))
    response = flask_app.test_client().get("/")
    assert (response.status_code, response.text) == (503, "our page")
    assert int(response.headers["Retry-After"]) > 0


def test_an_unknown_outcome_is_500() -> None:
    """Retry-After would invite a repetition."""
    response = offline_app(OperationOutcomeUnknown("offer of queue 'orders'")).test_client().get("/")
    assert response.status_code == 500
    assert "Retry-After" not in response.headers


def raising(error: Exception) -> Callable[[], Response]:
    def view() -> Response:
        raise error

    return view
