"""Parses the body of a POST to a command."""

from __future__ import annotations

import json
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from .._arguments import nearest
from .._fleet_control import Precondition, SwitchCommand
from .._foreign_text import MAX_QUOTED, quoted
from .body_limit import read_body


def reset_command(request: Request, by: str) -> SwitchCommand:
    """Parse ``{"workers": [id], "force": true}``, both optional; no body counts as ``{}``.

    :raises UnsupportedMediaType: the body is not JSON
    :raises BadRequest: it is malformed
    :raises RequestEntityTooLarge: it is too long
    """
    body = _body(request, ("workers", "force"))
    return SwitchCommand(label=None, by=by, workers=_workers(body), precondition=_precondition(body))


def switch_command(request: Request, by: str) -> SwitchCommand:
    """Parse the same with ``"cluster": LABEL``, which is required. Raises the same."""
    body = _body(request, ("cluster", "workers", "force"))
    label = body.get("cluster")
    if not isinstance(label, str):
        raise BadRequest('"cluster" must be the label of a cluster.')
    return SwitchCommand(label=label, by=by, workers=_workers(body), precondition=_precondition(body))


def _body(request: Request, known: tuple[str, ...]) -> dict[str, Any]:
    content = read_body(request)
    # A form without fields has a type but no content.
    if request.mimetype != "application/json" and (content or request.mimetype):
        raise UnsupportedMediaType("The body must be JSON, with the content type application/json.")
    if not content:
        return {}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    for name in body:
        if name not in known:
            raise BadRequest(f"Unknown member {quoted(name)}: {_hint(name, known)}.")
    return body


def _hint(name: str, known: tuple[str, ...]) -> str:
    if len(name) > MAX_QUOTED:  # no slip of the pen, and a long name is slow to compare
        return f"valid are {', '.join(map(repr, known))}"
    return f"the nearest valid one is {nearest(name, known)!r}"


def _workers(body: dict[str, Any]) -> tuple[str, ...] | None:
    if "workers" not in body:
        return None
    workers = body["workers"]
    if not isinstance(workers, list) or not workers or not all(isinstance(worker, str) for worker in workers):
        raise BadRequest('"workers" must be a list of at least one worker id.')
    return tuple(dict.fromkeys(workers))


def _precondition(body: dict[str, Any]) -> Precondition:
    force = body.get("force", False)
    if not isinstance(force, bool):
        raise BadRequest('"force" must be true or false.')
    return Precondition.NONE if force else Precondition.ALL_CAN_REACH_IT
