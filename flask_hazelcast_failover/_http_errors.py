"""What a visitor is told when no cluster can be reached: 503 and when to try again."""

from __future__ import annotations

from flask import Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import ServiceUnavailable

from flask_hazelcast_failover._admin.problems import problem
from flask_hazelcast_failover.errors import ClientOfflineException

__all__ = ["answer_when_offline"]

# A client is back within this many seconds of a cluster's return.
_RETRY_AFTER = 2


def answer_when_offline(app: Flask) -> None:
    """Make an unhandled ``ClientOfflineException`` a 503 with ``Retry-After``.

    A handler of the app's own wins: for the exception or any class above it, or for the status 503.
    """
    if ClientOfflineException in app.error_handler_spec[None][None]:
        return
    app.register_error_handler(ClientOfflineException, _answer)
    handle_others = app.handle_exception

    def handle_exception(error: Exception) -> Response:
        if isinstance(error, ClientOfflineException):
            try:
                return app.finalize_request(_answer(error), from_error_handler=True)
            except Exception as own:  # of the app's handler, which may have been who raised the first
                return handle_others(own)
        return handle_others(error)

    # Flask asks no handler for what a session, or a function after requests, raises.
    app.handle_exception = handle_exception  # type: ignore[assignment, method-assign]


def _answer(error: ClientOfflineException) -> ResponseReturnValue:
    for kind in type(error).__mro__:
        own = current_app.error_handler_spec[None][None].get(kind)
        if own is not None and own is not _answer:
            answered: ResponseReturnValue = current_app.ensure_sync(own)(error)
            return answered
    unavailable = ServiceUnavailable(
        "The data that this page needs cannot be reached at the moment. Please try again shortly.",
        retry_after=_RETRY_AFTER,
    )
    answer = current_app.handle_http_exception(unavailable)  # a handler of the app's own for 503
    if answer is unavailable:
        return problem(unavailable) if _wants_json() else unavailable.get_response()
    response = current_app.make_response(answer)
    response.headers.setdefault("Retry-After", str(_RETRY_AFTER))
    return response


def _wants_json() -> bool:
    offered = ["text/html", "application/json", "application/problem+json"]
    return request.accept_mimetypes.best_match(offered, default=offered[0]) != offered[0]
