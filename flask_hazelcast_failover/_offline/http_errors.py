"""The response when no cluster can be reached: 503 with ``Retry-After``.

Libraries and apps replace the methods through which Flask handles errors, after this extension is set up or before. So
ours are put in front of them again at each request, and ask them: an API may have a format, or a handler, of its own.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable

from .. import errors
from .._admin.problems import problem

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# A client connects within this many seconds of a cluster's return.
_RETRY_AFTER = 2
_TEXT = "The data that this page needs cannot be reached at the moment. Please try again shortly."


def answer_when_offline(app: Flask) -> None:
    """Make an unhandled ``ClientOfflineException`` a 503 with ``Retry-After``, whoever replaces the app's methods.

    An error handler of the app wins: for the exception, for any class above it, or for the status 503.
    """
    _put_first(app)
    app.wsgi_app = _putting_first(app, app.wsgi_app)  # type: ignore[assignment, method-assign]


def _putting_first(app: Flask, wsgi_app: WSGIApplication) -> WSGIApplication:
    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        _put_first(app)
        return wsgi_app(environ, start_response)

    return middleware


def _put_first(app: Flask) -> None:
    assigned = vars(app)
    for kind in (_HandleUserException, _HandleException):
        if type(assigned.get(kind.name)) is not kind:
            assigned[kind.name] = kind(app, assigned.get(kind.name))


class _ErrorMethod:
    """Stands before a method of an app, and before what others have assigned to it."""

    name: str

    def __init__(self, app: Flask, assigned: Callable[[Exception], Any] | None) -> None:
        self._app = app
        self.assigned = assigned

    def _pass_on(self, error: Exception) -> Any:
        if self.assigned is not None:
            return self.assigned(error)
        return getattr(type(self._app), self.name)(self._app, error)


class _HandleUserException(_ErrorMethod):
    """Answers errors of views and of functions before them."""

    name = "handle_user_exception"

    def __call__(self, error: Exception) -> Any:
        if isinstance(error, ClientOfflineException):
            error = error.original  # passed on by an API, before which another of these stands
        if not isinstance(error, errors.ClientOfflineException) or _has_handler_of_api(self, error):
            return self._pass_on(error)
        app, unavailable = self._app, ClientOfflineException(error)
        own = app._find_error_handler(error, request.blueprints)
        if own is not None:
            return app.ensure_sync(own)(error)
        if app._find_error_handler(unavailable, request.blueprints) is None:
            response = self._answer_of_others(unavailable)
            if response is not None:
                return response
        return _answer(app, unavailable)

    def _answer_of_others(self, unavailable: ClientOfflineException) -> Response | None:
        """The answer of what others have assigned, or a subclass defines; ``None`` if it does not know the error."""
        if self.assigned is None and type(self._app).handle_user_exception is Flask.handle_user_exception:
            return None
        try:
            returned = self._pass_on(unavailable)
            response = None if returned is unavailable else self._app.make_response(returned)
        except Exception as raised:
            if raised is not unavailable and raised is not unavailable.original:
                self._app.log_exception(sys.exc_info())
            return None
        if response is None or response.status_code == 500:
            return None
        # What answers every error in one way does not mean this one, unless it says 503 or is the API of this route.
        means_this = response.status_code == 503 or any(_apis(self))
        return _with_retry_after(response) if means_this else None


class _HandleException(_ErrorMethod):
    """Answers other errors: Flask calls no error handler for what a session or an after_request function raises."""

    name = "handle_exception"

    def __call__(self, error: Exception) -> Any:
        if isinstance(error, errors.ClientOfflineException):
            if _is_of_session(error):
                _drop_session(self._app)
            try:
                answer = self._app.handle_user_exception(error)
                return self._app.finalize_request(answer, from_error_handler=True)
            except Exception as raised:  # by the app's own handler
                return self._pass_on(raised)
        return self._pass_on(error)


class ClientOfflineException(errors.ClientOfflineException, ServiceUnavailable):
    """The error as others understand it: Flask-RESTful, for one, answers HTTP errors as such, and others with 500.

    Its name is the one that an app knows: Flask-RESTful's ``errors`` are looked up by it.
    """

    def __init__(self, original: errors.ClientOfflineException) -> None:
        ServiceUnavailable.__init__(self, _TEXT, retry_after=_RETRY_AFTER)
        self.args = (_TEXT, None)
        self.original = self.__cause__ = original  # for what reports errors


def _is_of_session(error: Exception) -> bool:
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "open_session" in names or "save_session" in names


def _drop_session(app: Flask) -> None:
    """Keep Flask from saving the session with the answer: that would wait and fail, again, and be logged."""
    attribute = "_session" if hasattr(request_ctx, "_session") else "session"  # before Flask 3.1.3
    setattr(request_ctx, attribute, app.session_interface.make_null_session(app))


def _has_handler_of_api(method: _HandleUserException, error: Exception) -> bool:
    """Whether ``@api.errorhandler`` of Flask-RESTX, or of a namespace of it, has registered one."""
    tables = [table for api in _apis(method) for table in (api, *getattr(api, "namespaces", ()))]
    return any(isinstance(error, kind) for table in tables for kind in getattr(table, "error_handlers", ()))


def _apis(method: object) -> Iterator[Any]:
    """The APIs of Flask-RESTful or Flask-RESTX that have this route.

    Each assigns ``partial(api.error_router, method)``, where the method is what was there before.
    """
    while True:
        if isinstance(method, _ErrorMethod):
            method = method.assigned
        elif isinstance(method, partial) and method.args:
            api: Any = getattr(method.func, "__self__", None)
            if hasattr(api, "owns_endpoint") and api.owns_endpoint(request.endpoint or ""):
                yield api
            method = method.args[0]
        else:
            return


def _answer(app: Flask, unavailable: ServiceUnavailable) -> ResponseReturnValue:
    handled = app.handle_http_exception(unavailable)  # calls the app's handler for 503
    if handled is unavailable:
        return problem(unavailable) if _wants_json() else unavailable.get_response()
    return _with_retry_after(app.make_response(handled))


def _with_retry_after(response: Response) -> Response:
    response.headers.setdefault("Retry-After", str(_RETRY_AFTER))
    return response


def _wants_json() -> bool:
    offered = ["text/html", "application/json", "application/problem+json"]
    return request.accept_mimetypes.best_match(offered, default=offered[0]) != offered[0]
