"""An offline cluster is 503 with Retry-After, whatever replaces the methods through which Flask handles errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask_restful  # type: ignore[import-untyped]
import flask_restx  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, abort, request, session
from flask.sessions import SecureCookieSessionInterface
from flask.views import MethodView
from hazelcast.errors import ClientOfflineError, HazelcastError
from werkzeug.test import TestResponse

from flask_hazelcast_failover import ClientOfflineException, HazelcastFailover, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, url_of
from tests.support.waiting import eventually

OFFLINE = ClientOfflineException("blue (10.0.0.1:5701): refused")
LIBRARIES = pytest.mark.parametrize(
    "library", [flask_restful, flask_restx], ids=lambda library: library.__name__
)
MODES: list[dict[str, Any]] = [
    {},
    {"TESTING": True},
    {"PROPAGATE_EXCEPTIONS": True},
    {"DEBUG": True},
    {"TRAP_HTTP_EXCEPTIONS": True},
]


def configured(app: Flask | None = None, **config: Any) -> Flask:
    app = app or Flask("shop")
    app.config.update({"HAZELCAST_FAILOVER_CLUSTERS": absent("blue"), **config})
    return app


def resource(library: Any, error: Exception = OFFLINE) -> Any:
    class Visits(library.Resource):  # type: ignore[misc]
        def get(self) -> Any:
            raise error

    return Visits


def api_app(library: Any, error: Exception = OFFLINE, **config: Any) -> tuple[Flask, Any]:
    """An app with this extension, then an API whose /visits raises."""
    app = configured(**config)
    HazelcastFailover(app)
    api = library.Api(app)
    api.add_resource(resource(library, error), "/visits")
    return app, api


def assert_unavailable(response: TestResponse) -> None:
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "10.0.0.1" not in response.text


def first(app: Flask, api: Any) -> None:
    api.init_app(app)


def on_a_blueprint(app: Flask, api: Any) -> None:
    blueprint = Blueprint("api", __name__)
    api.init_app(blueprint)
    app.register_blueprint(blueprint)


@LIBRARIES
@pytest.mark.parametrize("init", [first, on_a_blueprint])
@pytest.mark.parametrize("extension", ["before", "after"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_route_of_an_api_is_503(
    library: Any, init: Callable[[Flask, Any], None], extension: str, mode: dict[str, Any]
) -> None:
    """In the API's own format, whichever is set up first."""
    app, api = configured(**mode), library.Api()
    if extension == "before":
        HazelcastFailover(app)
    api.add_resource(resource(library), "/visits")
    init(app, api)
    if extension == "after":
        HazelcastFailover(app)
    app.add_url_rule("/page", view_func=raising(OFFLINE))
    response = app.test_client().get("/visits")
    assert_unavailable(response)
    assert "cannot be reached" in response.get_json()["message"]
    page = app.test_client().get("/page")
    assert_unavailable(page)
    assert page.mimetype == "text/html"


@LIBRARIES
def test_an_api_answers_503_while_its_cluster_is_killed(
    library: Any, pair: tuple[LocalCluster, LocalCluster]
) -> None:
    """And 200 before."""
    cluster, ext = pair[0], HazelcastFailover()
    app = configured(HAZELCAST_FAILOVER_CLUSTERS=url_of(cluster), HAZELCAST_FAILOVER_TRY_COUNT=1)
    ext.init_app(app)

    class Visits(library.Resource):  # type: ignore[misc]
        def get(self) -> dict[str, object]:
            visits: Any = ext.client.get_map("visits").blocking()
            return {"visits": visits.get("total")}

    library.Api(app).add_resource(Visits, "/visits")
    with client_of(app):
        visitor = app.test_client()
        assert visitor.get("/visits").get_json() == {"visits": None}
        cluster.kill()
        eventually(lambda: visitor.get("/visits").status_code == 503)
        assert_unavailable(visitor.get("/visits"))


@LIBRARIES
@pytest.mark.parametrize("where", ["before_request", "after_request"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_around_a_route_of_an_api_it_is_503(library: Any, where: str, mode: dict[str, Any]) -> None:
    """What a function before or after the request raises."""
    app, api = api_app(library, **mode)
    getattr(app, where)(lambda *_: raising(OFFLINE)())
    api.add_resource(type("Well", (library.Resource,), {"get": lambda _: {}}), "/well")
    assert_unavailable(app.test_client().get("/well"))


@LIBRARIES
@pytest.mark.parametrize("kind", [ClientOfflineException, ClientOfflineError, HazelcastError, Exception])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_handler_of_the_app_wins_over_an_api(
    library: Any, kind: type[Exception], mode: dict[str, Any]
) -> None:
    """It gets the error that was raised."""
    app, _ = api_app(library, **mode)
    app.register_error_handler(kind, lambda error: (f"ours: {error is OFFLINE}", 500))
    response = app.test_client().get("/visits")
    assert (response.status_code, response.text) == (500, "ours: True")


def test_a_handler_of_a_blueprint_wins_over_the_apps() -> None:
    """As everywhere in Flask."""
    app, blueprint = configured(), Blueprint("shop", __name__)
    HazelcastFailover(app)
    blueprint.register_error_handler(HazelcastError, lambda _: ("the blueprint's", 418))
    app.register_error_handler(ClientOfflineException, lambda _: ("the app's", 418))
    blueprint.add_url_rule("/", view_func=raising(OFFLINE))
    app.register_blueprint(blueprint)
    app.handle_user_exception = lambda _: ("replaced", 500)  # type: ignore[method-assign, assignment]
    assert app.test_client().get("/").text == "the blueprint's"


@pytest.mark.parametrize("status", [418, 500, 503])
@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("of", ["api", "namespace"])
def test_a_handler_of_restx_wins(status: int, mode: dict[str, Any], of: str) -> None:
    """Over a less specific one of the app, too."""
    app, api = api_app(flask_restx, **mode)
    app.register_error_handler(Exception, lambda _: ("the app's", 500))
    registry = api if of == "api" else api.namespace("carts")

    @registry.errorhandler(ClientOfflineException)  # type: ignore[untyped-decorator]
    def ours(error: ClientOfflineException) -> tuple[dict[str, str], int]:
        return {"message": "ours"}, status

    response = app.test_client().get("/visits")
    assert (response.status_code, response.get_json()) == (status, {"message": "ours"})


def test_a_custom_error_of_restful_wins() -> None:
    """One of those that are given to its Api by name."""
    app = configured()
    api = flask_restful.Api(app, errors={"ClientOfflineException": {"message": "ours", "status": 418}})
    HazelcastFailover(app)
    api.add_resource(resource(flask_restful), "/visits")
    response = app.test_client().get("/visits")
    assert (response.status_code, response.get_json()["message"]) == (418, "ours")


@LIBRARIES
def test_an_api_with_another_way_to_handle_errors_is_503(library: Any) -> None:
    """If that answers everything with 500."""

    class OwnApi(library.Api):  # type: ignore[misc]
        def handle_error(self, e: Exception) -> Any:
            return self.make_response({"oops": type(e).__name__}, 500)

    app = configured()
    HazelcastFailover(app)
    OwnApi(app).add_resource(resource(library), "/visits")
    assert_unavailable(app.test_client().get("/visits"))


@LIBRARIES
def test_other_errors_of_an_api_are_the_apis(library: Any) -> None:
    """Its HTTP errors, and an unknown outcome, which is a plain 500."""
    app, api = api_app(library, OperationOutcomeUnknown("offer of queue 'orders'"))
    api.add_resource(type("Gone", (library.Resource,), {"get": lambda _: abort(410)}), "/gone")
    response = app.test_client().get("/visits")
    assert response.status_code == 500 and "Retry-After" not in response.headers
    assert app.test_client().get("/gone").status_code == 410


def answering(error: Exception) -> Any:
    return {"oops": type(error).__name__}, 500


def reraising(error: Exception) -> Any:
    raise error


def failing(error: Exception) -> Any:
    raise ZeroDivisionError


def joking(error: Exception) -> Any:
    return "a teapot", 418


@pytest.mark.parametrize("replacement", [answering, reraising, failing, joking])
@pytest.mark.parametrize("how", ["assigned before", "assigned after", "subclass"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_an_app_with_replaced_methods_is_503(
    replacement: Callable[[Exception], Any], how: str, mode: dict[str, Any]
) -> None:
    """For the errors of views and of functions after the request; other errors are left to these methods."""

    class Own(Flask):
        def handle_user_exception(self, e: Exception) -> Any:
            return replacement(e)

        def handle_exception(self, e: Exception) -> Any:
            return self.make_response(replacement(e))

    app = configured(Own("shop") if how == "subclass" else None, **mode)

    def assign() -> None:
        app.handle_user_exception = replacement  # type: ignore[method-assign, assignment]
        app.handle_exception = lambda error: app.make_response(replacement(error))  # type: ignore[method-assign, assignment]

    if how == "assigned before":
        assign()
    HazelcastFailover(app)
    if how == "assigned after":
        assign()
    app.add_url_rule("/", view_func=raising(OFFLINE))
    app.add_url_rule("/well", view_func=lambda: "well")
    app.add_url_rule("/oops", "oops", raising(KeyError("oops")))
    app.after_request(lambda response: raising(OFFLINE)() if request.path == "/well" else response)
    assert_unavailable(app.test_client().get("/"))
    assert_unavailable(app.test_client().get("/well"))
    if replacement in (answering, joking):
        assert app.test_client().get("/oops").status_code == replacement(OFFLINE)[1]


@pytest.mark.parametrize("how", ["assigned", "subclass"])
def test_a_method_that_formats_http_errors_formats_this_one(how: str) -> None:
    """It gets an HTTP error; what passes it on to Flask changes nothing."""

    def format_or_pass_on(error: Exception, pass_on: Callable[[Exception], Any]) -> Any:
        code = getattr(error, "code", None)
        return ({"code": code, "kind": type(error).__name__}, code) if code else pass_on(error)

    class Own(Flask):
        def handle_user_exception(self, e: Exception) -> Any:
            return format_or_pass_on(e, super().handle_user_exception)

    app = configured(Own("shop") if how == "subclass" else None)
    HazelcastFailover(app)
    if how == "assigned":
        former = app.handle_user_exception
        app.handle_user_exception = lambda error: format_or_pass_on(error, former)  # type: ignore[method-assign, assignment]
    app.add_url_rule("/", view_func=raising(OFFLINE))
    response = app.test_client().get("/")
    assert_unavailable(response)
    assert response.get_json() == {"code": 503, "kind": "ClientOfflineException"}


@pytest.mark.parametrize("status", [503, 500])
def test_methods_replaced_between_requests_are_found(status: int) -> None:
    """As often as that happens."""
    app = configured()
    HazelcastFailover(app)
    app.add_url_rule("/", view_func=raising(OFFLINE))
    for _ in range(3):
        former = app.handle_user_exception
        app.handle_user_exception = lambda error: ("theirs", status)  # type: ignore[method-assign, assignment]
        response = app.test_client().get("/")
        assert_unavailable(response)
        assert (response.text == "theirs") == (status == 503)
        app.handle_user_exception = former  # type: ignore[method-assign]
        assert_unavailable(app.test_client().get("/"))


class OfflineSessions(SecureCookieSessionInterface):
    """Keeps sessions in a cluster that does not answer."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.calls: list[str] = []

    def open_session(self, app: Flask, request: Any) -> Any:
        return self._call("open", super().open_session, app, request)

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        self._call("save", super().save_session, app, session, response)

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(name)
        if name in self.failing:
            raise OFFLINE
        return method(*arguments)


@pytest.mark.parametrize("failing", ["open", "save"])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_session_that_fails_is_tried_once(
    failing: str, mode: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A second time would wait as long again, and is logged with a traceback."""
    app = configured(SECRET_KEY="secret", **mode)
    HazelcastFailover(app)
    app.session_interface = sessions = OfflineSessions(failing)
    app.add_url_rule("/", view_func=lambda: session.update(user="ann") or "well")
    assert_unavailable(app.test_client().get("/"))
    assert sessions.calls == ["open", "save"][: 1 if failing == "open" else 2]
    assert not caplog.records


def test_a_session_that_does_not_fail_is_saved_with_the_answer() -> None:
    """An after_request function that fails does not take the visitor's session away."""
    app = configured(SECRET_KEY="secret")
    HazelcastFailover(app)
    app.add_url_rule("/", view_func=lambda: session.update(user="ann") or "well")
    error = ClientOfflineException("blue (10.0.0.1:5701): refused")
    errors = iter([error])
    app.after_request(lambda response: raising(error)() if next(errors, None) else response)
    response = app.test_client().get("/")
    assert_unavailable(response)
    assert "session=" in response.headers["Set-Cookie"]


@LIBRARIES
def test_a_handler_for_the_status_wins_over_an_api(library: Any) -> None:
    """Though an API formats other errors of that status itself."""
    app, _ = api_app(library)
    app.register_error_handler(503, lambda error: (f"ours: {error.retry_after}", 503))
    response = app.test_client().get("/visits")
    assert_unavailable(response)
    assert response.text == "ours: 2"


def test_an_error_with_an_offline_error_as_its_cause_is_not_ours() -> None:
    """It is the app's own, and a plain 500."""
    app = configured()
    HazelcastFailover(app)

    @app.get("/")
    def view() -> str:
        raise ValueError("the cart") from OFFLINE

    assert app.test_client().get("/").status_code == 500


def test_a_class_based_view_is_503() -> None:
    """Also what its decorators raise."""

    class View(MethodView):
        def get(self) -> str:
            return "well"

    class Decorated(View):
        decorators = [lambda _: raising(OFFLINE)]  # noqa: RUF012 - as Flask wants it

    class Failing(View):
        def get(self) -> str:
            raise OFFLINE

    app = configured()
    HazelcastFailover(app)
    app.handle_user_exception = lambda error: ("replaced", 500)  # type: ignore[method-assign, assignment]
    for name, view in (("decorated", Decorated), ("failing", Failing)):
        app.add_url_rule(f"/{name}", view_func=view.as_view(name))
    assert_unavailable(app.test_client().get("/decorated"))
    assert_unavailable(app.test_client().get("/failing"))


def raising(error: Exception) -> Callable[..., Any]:
    def view(**_: Any) -> Any:
        raise error

    return view
