"""The admin routes. Each request passes the sign-in, the check of method and origin, then the view."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from flask import Blueprint, Flask, current_app, request, send_from_directory, url_for
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
from .._foreign_text import MAX_NAME, printable, quoted
from .._printable_status import printable_status
from ..client import HazelcastClient
from .access import Access, refuse_foreign_pages
from .body_limit import bound_body, refuse_long_body
from .domains import Domains
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
# The length of a list of workers in a line of the log, in characters.
_MAX_LISTED = 600
_STATIC = Path(__file__).with_name("static")


def create_blueprint(
    app: Flask, prefix: str, client: HazelcastClient, fleet_control: FleetControl, access: Access
) -> Blueprint:
    """Return the routes of one app. If nobody can sign in, only those for health probes exist."""
    blueprint = Blueprint("hazelcast_failover", __name__, url_prefix=prefix, template_folder="templates")
    routes = _Routes(blueprint, Domains(app, blueprint))
    _exempt_from_extensions(blueprint)
    _add_health(routes, client)
    if access.is_open:
        _add_control(routes, fleet_control)
    else:
        routes.add("/", "nothing", _not_found, strict_slashes=False)
    routes.add("/<path:path>", "nothing", _not_found)
    failed_sign_ins, throttle = FailedSignIns(), LogThrottle()
    blueprint.before_request(lambda: _admit(access, failed_sign_ins))
    blueprint.register_error_handler(HTTPException, lambda error: _log_and_answer(error, throttle))
    blueprint.after_request(_set_headers)
    return blueprint


class _Routes:
    def __init__(self, blueprint: Blueprint, domains: Domains) -> None:
        self._blueprint = blueprint
        self._domains = domains

    def add(self, rule: str, endpoint: str, view: Any, **options: Any) -> None:
        # No redirect to a path with other slashes: that would repeat the query, whoever asks and however long it is.
        options |= {"methods": _EVERY_METHOD, "merge_slashes": False, "provide_automatic_options": False}
        for domain in self._domains.rule_options:
            self._blueprint.add_url_rule(rule, endpoint, view, **options, **domain)


def _add_health(routes: _Routes, client: HazelcastClient) -> None:
    def health() -> Response:
        state = health_of(client)
        return _json({"status": state.value}, 503 if state is Health.DOWN else 200)

    def live() -> Response:
        return _json({"status": "ok"})

    routes.add("/health", "health", health)
    routes.add("/health/live", "live", live)


def _add_control(routes: _Routes, fleet_control: FleetControl) -> None:
    def page() -> Response:
        return render_page(printable_status(fleet_control.status()))

    def status() -> Response:
        return _json(printable_status(fleet_control.status()))

    def reset() -> Response:
        return _carry_out(fleet_control, reset_command(request, _user()))

    def switch() -> Response:
        return _carry_out(fleet_control, switch_command(request, _user()))

    def description() -> Response:
        url = url_for("hazelcast_failover.page").removesuffix("/")
        return _json(describe(printable_status(fleet_control.status()), url))

    def static(filename: str) -> Response:
        return send_from_directory(_STATIC, filename)

    routes.add("/", "page", page, strict_slashes=False)
    routes.add("/openapi.json", "description", description)
    routes.add("/status", "status", status)
    routes.add("/reset", "reset", reset)
    routes.add("/switch", "switch", switch)
    routes.add("/static/<path:filename>", "static", static)


def _carry_out(fleet_control: FleetControl, command: SwitchCommand) -> Response:
    try:
        result = fleet_control.carry_out(command)
    except UnknownTarget as error:
        raise BadRequest(f"{error}.") from error
    except TargetUnreachable as error:
        raise Conflict(f"Nothing has changed: {error}") from error
    target = f" to {quoted(command.label)}" if command.label is not None else ""
    _log(
        f"{_endpoint()}{target} by {quoted(command.by)} from {_address()}: generation {result.generation};"
        f" done: {_listed(result.done)}; missing: {_listed(result.missing)}"
    )
    return _json(printable_status(result.as_dict()))


def _admit(access: Access, failed_sign_ins: FailedSignIns) -> None:
    endpoint = _endpoint()
    if endpoint not in _PUBLIC:
        if not access.is_open:
            _not_found()
        bound_body(request)
        request.environ[_USER_KEY] = _sign_in(access, failed_sign_ins)
    refuse_long_body(request)
    methods = _METHODS.get(endpoint, _EVERY_METHOD)
    if request.method not in methods:
        raise MethodNotAllowed(methods, f"This takes {' and '.join(methods)} only.")
    if methods is _ACT:
        refuse_foreign_pages(request)


def _sign_in(access: Access, failed_sign_ins: FailedSignIns) -> str:
    # The token comes before any limit: behind a proxy all have one address, and a stranger's failures must not
    # lock the operators out.
    user = access.user_with_token(request)
    if user is not None:
        return user
    address, has_credentials = _address(), "Authorization" in request.headers
    pause = failed_sign_ins.blocked_for(address)
    if not pause:
        user = access.user_of_app(request)
        if user is not None:
            return user
        if has_credentials:
            failed_sign_ins.add(address)
    elif has_credentials or access.token is None:
        raise TooManyRequests("Too many failed sign-ins from this address.", retry_after=math.ceil(pause))
    # Also from a blocked address, without credentials: a browser asks for them at a 401 only.
    raise Unauthorized(_HOW_TO_SIGN_IN, www_authenticate=access.challenges())


def _log_and_answer(error: HTTPException, throttle: LogThrottle) -> Response:
    suppressed: int | None = 0
    is_action = _METHODS.get(_endpoint()) is _ACT
    if not is_action or _USER_KEY not in request.environ:
        # Each refused action of a user is logged. Guesses and strangers are throttled, and a misconfigured probe
        # is not logged at all.
        is_logged = is_action or "Authorization" in request.headers
        suppressed = throttle.next_line(_address()) if is_logged else None
    if suppressed is not None:
        more = f" ({suppressed} more from there since the last such line)" if suppressed else ""
        _log(
            f"{printable(request.method, MAX_NAME)} {quoted(request.path)} by {quoted(_user())}"
            f" from {_address()} refused: {error.code} {printable(str(error.description), _MAX_LISTED)}{more}"
        )
    return problem(error)


def _log(line: str) -> None:
    # A warning, so that it is logged even where nobody has set a level.
    _logger.warning("%s", printable(line))


def _listed(workers: Sequence[str]) -> str:
    return printable(", ".join(workers), _MAX_LISTED) or "none"


def _address() -> str:
    # A proxy's header may have set it, to anything.
    return printable(request.remote_addr or "unknown", MAX_NAME)


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


def _endpoint() -> str:
    return (request.endpoint or "").rpartition(".")[2]


def _user() -> str:
    # Not flask.g, which requests share within an app context that a test has opened.
    user: str = request.environ.get(_USER_KEY, "nobody")
    return user


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    # Not jsonify: an app may have replaced its JSON provider.
    return Response(json.dumps(body), status, mimetype="application/json")
