"""The admin routes and what each request to them passes: sign-in, method, origin, then the view."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, current_app, request
from werkzeug.exceptions import (
    BadRequest,
    Conflict,
    HTTPException,
    MethodNotAllowed,
    NotFound,
    TooManyRequests,
    Unauthorized,
)
from werkzeug.wrappers import Response

from flask_hazelcast_failover._admin.access import Access, refuse_foreign_pages
from flask_hazelcast_failover._admin.health import Health, health_of
from flask_hazelcast_failover._admin.openapi import describe
from flask_hazelcast_failover._admin.page import render_page
from flask_hazelcast_failover._admin.problems import problem
from flask_hazelcast_failover._admin.requests import reset_command, switch_command
from flask_hazelcast_failover._admin.sign_ins import FailedSignIns, LogLines
from flask_hazelcast_failover._fleet_control import (
    FleetControl,
    SwitchCommand,
    TargetUnreachable,
    UnknownTarget,
)
from flask_hazelcast_failover.client import HazelcastClient

__all__ = ["create_blueprint"]

_logger = logging.getLogger("flask_hazelcast_failover.admin")

# Every route takes every method and is refused here, since Flask's own 404 and 405 are no JSON.
_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
_READ = ["GET", "HEAD"]
_ACT = ["POST"]
_METHODS: Mapping[str, list[str]] = {
    "health": _READ,
    "live": _READ,
    "page": _READ,
    "description": _READ,
    "static": _READ,
    "status": _READ,
    "reset": _ACT,
    "switch": _ACT,
}
_HOW_TO_SIGN_IN = "Sign in with the token, as a bearer or as the password."
_WHO = "flask_hazelcast_failover.who"
_OPEN_TO_ALL = ("health", "live")


def create_blueprint(
    prefix: str, client: HazelcastClient, steering: FleetControl, access: Access
) -> Blueprint:
    """Return the routes of one app. Without any way in, only those for health probes exist."""
    blueprint = Blueprint(
        "hazelcast_failover",
        __name__,
        url_prefix=prefix,
        template_folder="templates",
        static_folder="static" if access.is_open else None,
    )
    _exempt_from_extensions(blueprint)
    _add_health(blueprint, client)
    if access.is_open:
        _add_steering(blueprint, steering)
    else:
        _add_route(blueprint, "/", "nothing", _nothing, strict_slashes=False)
    _add_route(blueprint, "/<path:path>", "nothing", _nothing)
    attempts, lines = FailedSignIns(), LogLines()
    blueprint.before_request(lambda: _admit(access, attempts))
    blueprint.register_error_handler(HTTPException, lambda error: _refused(error, lines))
    blueprint.after_request(_never_stored)
    return blueprint


def _add_health(blueprint: Blueprint, client: HazelcastClient) -> None:
    def health() -> Response:
        found = health_of(client)
        return _json({"status": found.value}, 503 if found is Health.DOWN else 200)

    def live() -> Response:
        return _json({"status": "ok"})

    _add_route(blueprint, "/health", "health", health)
    _add_route(blueprint, "/health/live", "live", live)


def _add_steering(blueprint: Blueprint, steering: FleetControl) -> None:
    def page() -> Response:
        return render_page(steering.status())

    def status() -> Response:
        return _json(steering.status())

    def reset() -> Response:
        return _carry_out(steering, reset_command(request, _who()))

    def switch() -> Response:
        return _carry_out(steering, switch_command(request, _who()))

    def description() -> Response:
        return _json(describe(steering.status()))

    _add_route(blueprint, "/", "page", page)
    _add_route(blueprint, "/openapi.json", "description", description)
    _add_route(blueprint, "/status", "status", status)
    _add_route(blueprint, "/reset", "reset", reset)
    _add_route(blueprint, "/switch", "switch", switch)


def _carry_out(steering: FleetControl, wish: SwitchCommand) -> Response:
    try:
        outcome = steering.carry_out(wish)
    except UnknownTarget as error:
        raise BadRequest(f"{error}.") from error
    except TargetUnreachable as error:
        raise Conflict(f"Nothing has changed: {error}") from error
    # A warning, since nobody may have set the level of a log that has to tell who it was.
    _logger.warning(
        "%s%s by %r from %s: generation %d; done: %s; missing: %s",
        _endpoint(),
        f" to {wish.label!r}" if wish.label is not None else "",
        wish.by,
        request.remote_addr,
        outcome.generation,
        ", ".join(outcome.done) or "none",
        ", ".join(outcome.missing) or "none",
    )
    return _json(outcome.as_dict())


def _admit(access: Access, attempts: FailedSignIns) -> None:
    endpoint = _endpoint()
    if endpoint not in _OPEN_TO_ALL:
        if not access.is_open:
            raise NotFound("There is nothing here.")
        request.environ[_WHO] = _signed_in(access, attempts)
    methods = _METHODS.get(endpoint, _EVERY_METHOD)
    if request.method not in methods:
        raise MethodNotAllowed(methods, f"This takes {' and '.join(methods)} only.")
    if methods is _ACT:
        refuse_foreign_pages(request)


def _signed_in(access: Access, attempts: FailedSignIns) -> str:
    address = request.remote_addr or "unknown"
    pause = attempts.refused_for(address)
    if pause:
        raise TooManyRequests("Too many failed sign-ins from this address.", retry_after=math.ceil(pause))
    who = access.who_asks(request)
    if who is None:
        if "Authorization" in request.headers:
            attempts.add(address)
        raise Unauthorized(_HOW_TO_SIGN_IN, www_authenticate=access.challenges())
    return who


def _refused(error: HTTPException, lines: LogLines) -> Response:
    passed_over: int | None = 0
    if _METHODS.get(_endpoint()) is not _ACT:
        # An action is worth a line of its own. Guesses are not, nor is a probe that is set up wrongly.
        is_signing_in = "Authorization" in request.headers
        passed_over = lines.ask(request.remote_addr or "unknown") if is_signing_in else None
    if passed_over is not None:
        _logger.warning(
            "%s %r by %r from %s refused: %s %s%s",
            request.method,
            request.path,
            _who(),
            request.remote_addr,
            error.code,
            error.description,
            f" ({passed_over} more from there since the last such line)" if passed_over else "",
        )
    return problem(error)


def _nothing(path: str = "") -> Response:
    raise NotFound("There is nothing here.")


def _never_stored(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _exempt_from_extensions(blueprint: Blueprint) -> None:
    """Programs have no CSRF token to show, and a forged request is refused here anyway. No limit may turn a
    probe away, least of all when limits are stored in a cluster that is down.

    An extension may be set up after this blueprint, so it is asked for when a request comes: before any
    function that is called before requests.
    """

    @blueprint.url_value_preprocessor
    def ask_for_exemption(endpoint: str | None, values: dict[str, Any] | None) -> None:
        limiters = current_app.extensions.get("limiter", ())
        for extension in (current_app.extensions.get("csrf"), *limiters):
            exempt = getattr(extension, "exempt", None)
            if callable(exempt):
                exempt(blueprint)


def _add_route(blueprint: Blueprint, rule: str, endpoint: str, view: Any, **options: Any) -> None:
    blueprint.add_url_rule(
        rule, endpoint, view, methods=_EVERY_METHOD, provide_automatic_options=False, **options
    )


def _endpoint() -> str:
    return (request.endpoint or "").rpartition(".")[2]


def _who() -> str:
    # Not flask.g, which requests share under an app context that a test has opened.
    who: str = request.environ.get(_WHO, "nobody")
    return who


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    # Not jsonify: an app may have its own ideas of JSON, and programs read this.
    return Response(json.dumps(body), status, mimetype="application/json")
