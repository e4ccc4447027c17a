"""The admin routes. Each request passes the sign-in, the check of method and origin, then the view."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from typing import Any, NoReturn

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

from .._fleet_control import FleetControl, SwitchCommand, TargetUnreachable, UnknownTarget
from ..client import HazelcastClient
from .access import Access, refuse_foreign_pages
from .health import Health, health_of
from .openapi import describe
from .page import render_page
from .problems import problem
from .requests import reset_command, switch_command
from .sign_ins import FailedSignIns, LogThrottle

_logger = logging.getLogger("flask_hazelcast_failover.admin")

# Every route accepts every method, which is checked here: Flask's own 404 and 405 are no JSON.
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
_USER_KEY = "flask_hazelcast_failover.user"
_PUBLIC = ("health", "live")


def create_blueprint(
    prefix: str, client: HazelcastClient, fleet_control: FleetControl, access: Access
) -> Blueprint:
    """Return the routes of one app. If nobody can sign in, only those for health probes exist."""
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
        _add_control(blueprint, fleet_control)
    else:
        _add_route(blueprint, "/", "nothing", _not_found, strict_slashes=False)
    _add_route(blueprint, "/<path:path>", "nothing", _not_found)
    failed_sign_ins, throttle = FailedSignIns(), LogThrottle()
    blueprint.before_request(lambda: _admit(access, failed_sign_ins))
    blueprint.register_error_handler(HTTPException, lambda error: _log_and_answer(error, throttle))
    blueprint.after_request(_set_headers)
    return blueprint


def _add_health(blueprint: Blueprint, client: HazelcastClient) -> None:
    def health() -> Response:
        state = health_of(client)
        return _json({"status": state.value}, 503 if state is Health.DOWN else 200)

    def live() -> Response:
        return _json({"status": "ok"})

    _add_route(blueprint, "/health", "health", health)
    _add_route(blueprint, "/health/live", "live", live)


def _add_control(blueprint: Blueprint, fleet_control: FleetControl) -> None:
    def page() -> Response:
        return render_page(fleet_control.status())

    def status() -> Response:
        return _json(fleet_control.status())

    def reset() -> Response:
        return _carry_out(fleet_control, reset_command(request, _user()))

    def switch() -> Response:
        return _carry_out(fleet_control, switch_command(request, _user()))

    def description() -> Response:
        return _json(describe(fleet_control.status()))

    _add_route(blueprint, "/", "page", page)
    _add_route(blueprint, "/openapi.json", "description", description)
    _add_route(blueprint, "/status", "status", status)
    _add_route(blueprint, "/reset", "reset", reset)
    _add_route(blueprint, "/switch", "switch", switch)


def _carry_out(fleet_control: FleetControl, command: SwitchCommand) -> Response:
    try:
        result = fleet_control.carry_out(command)
    except UnknownTarget as error:
        raise BadRequest(f"{error}.") from error
    except TargetUnreachable as error:
        raise Conflict(f"Nothing has changed: {error}") from error
    # A warning, so that it is logged even where nobody has set a level.
    _logger.warning(
        "%s%s by %r from %s: generation %d; done: %s; missing: %s",
        _endpoint(),
        f" to {command.label!r}" if command.label is not None else "",
        command.by,
        request.remote_addr,
        result.generation,
        ", ".join(result.done) or "none",
        ", ".join(result.missing) or "none",
    )
    return _json(result.as_dict())


def _admit(access: Access, failed_sign_ins: FailedSignIns) -> None:
    endpoint = _endpoint()
    if endpoint not in _PUBLIC:
        if not access.is_open:
            _not_found()
        request.environ[_USER_KEY] = _sign_in(access, failed_sign_ins)
    methods = _METHODS.get(endpoint, _EVERY_METHOD)
    if request.method not in methods:
        raise MethodNotAllowed(methods, f"This takes {' and '.join(methods)} only.")
    if methods is _ACT:
        refuse_foreign_pages(request)


def _sign_in(access: Access, failed_sign_ins: FailedSignIns) -> str:
    address = request.remote_addr or "unknown"
    pause = failed_sign_ins.blocked_for(address)
    if pause:
        raise TooManyRequests("Too many failed sign-ins from this address.", retry_after=math.ceil(pause))
    user = access.user(request)
    if user is None:
        if "Authorization" in request.headers:
            failed_sign_ins.add(address)
        raise Unauthorized(_HOW_TO_SIGN_IN, www_authenticate=access.challenges())
    return user


def _log_and_answer(error: HTTPException, throttle: LogThrottle) -> Response:
    suppressed: int | None = 0
    if _METHODS.get(_endpoint()) is not _ACT:
        # Each refused action is logged. Guesses are throttled, and a misconfigured probe is not logged at all.
        is_signing_in = "Authorization" in request.headers
        suppressed = throttle.next_line(request.remote_addr or "unknown") if is_signing_in else None
    if suppressed is not None:
        _logger.warning(
            "%s %r by %r from %s refused: %s %s%s",
            request.method,
            request.path,
            _user(),
            request.remote_addr,
            error.code,
            error.description,
            f" ({suppressed} more from there since the last such line)" if suppressed else "",
        )
    return problem(error)


def _not_found(path: str = "") -> NoReturn:
    raise NotFound("There is nothing here.")


def _set_headers(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _exempt_from_extensions(blueprint: Blueprint) -> None:
    """Exempt the routes from CSRF protection and limits.

    Programs have no CSRF token, and forged requests are refused here anyway. A limit must not refuse a probe,
    least of all if limits are stored in a cluster that is down.
    """

    # At each request, since an extension may be set up after this blueprint; this runs before its before_request.
    @blueprint.url_value_preprocessor
    def exempt_routes(endpoint: str | None, values: dict[str, Any] | None) -> None:
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


def _user() -> str:
    # Not flask.g, which requests share within an app context that a test has opened.
    user: str = request.environ.get(_USER_KEY, "nobody")
    return user


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    # Not jsonify: an app may have replaced its JSON provider.
    return Response(json.dumps(body), status, mimetype="application/json")
