"""The response when no cluster can be reached: 503 with ``Retry-After``."""

from __future__ import annotations

from flask import Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable

from ._admin.problems import problem
from .errors import ClientOfflineException

# A client connects within this many seconds of a cluster's return.
_RETRY_AFTER = 2


def answer_when_offline(app: Flask) -> None:
    """Make an unhandled ``ClientOfflineException`` a 503 with ``Retry-After``.

    An error handler of the app wins: for the exception, for any class above it, or for the status 503.
    """
    if ClientOfflineException in app.error_handler_spec[None][None]:
        return
    app.register_error_handler(ClientOfflineException, _answer)
    handle_others = app.handle_exception

    def handle_exception(error: Exception) -> Response:
        if isinstance(error, ClientOfflineException):
            try:
                return app.finalize_request(_answer(error), from_error_handler=True)
            except Exception as raised:  # by the app's own handler
                return handle_others(raised)
        return handle_others(error)

    # Flask calls no error handler for what a session or an after_request function raises.
    app.handle_exception = handle_exception  # type: ignore[assignment, method-assign]


def _answer(error: ClientOfflineException) -> ResponseReturnValue:
    for kind in type(error).__mro__:
        own = current_app.error_handler_spec[None][None].get(kind)
        if own is not None and own is not _answer:
            response: ResponseReturnValue = current_app.ensure_sync(own)(error)
            return response
    unavailable = ServiceUnavailable(
        "The data that this page needs cannot be reached at the moment. Please try again shortly.",
        retry_after=_RETRY_AFTER,
    )
    handled = current_app.handle_http_exception(unavailable)  # calls the app's handler for 503
    if handled is unavailable:
        return problem(unavailable) if _wants_json() else unavailable.get_response()
    made = current_app.make_response(handled)
    made.headers.setdefault("Retry-After", str(_RETRY_AFTER))
    return made


def _wants_json() -> bool:
    offered = ["text/html", "application/json", "application/problem+json"]
    return request.accept_mimetypes.best_match(offered, default=offered[0]) != offered[0]
