"""Errors as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

__all__ = ["problem"]


def problem(error: HTTPException) -> Response:
    """Return the answer that says what went wrong, with the headers that belong to the error."""
    if error.response is not None:
        return error.get_response()  # the app's own code has put its answer into the error
    status = error.code or 500
    body = {"type": "about:blank", "title": error.name, "status": status, "detail": error.description or ""}
    answer = Response(json.dumps(body), status, mimetype="application/problem+json")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            answer.headers.add(name, value)
    return answer
