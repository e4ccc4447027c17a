"""Errors as application/problem+json (RFC 9457)."""

from __future__ import annotations

import json

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from .._foreign_text import printable


def problem(error: HTTPException) -> Response:
    """The response for an error, with the error's headers."""
    if error.response is not None:
        return error.get_response()  # given to abort() by the app
    status = error.code or 500
    detail = printable(str(error.description or ""))
    body = {"type": "about:blank", "title": error.name, "status": status, "detail": detail}
    response = Response(json.dumps(body), status, mimetype="application/problem+json")
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers.add(name, value)
    return response
