"""The page for operators: rendered on the server; it refreshes itself by loading its live part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from flask import render_template, request
from werkzeug.wrappers import Response

# Only from this app, and nothing inline.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HISTORY_SHOWN = 20


class Standing(str, Enum):
    """Where the app is, which is the colour of the page."""

    PRIMARY = "primary"
    ELSEWHERE = "elsewhere"
    OFFLINE = "offline"
    WAITING = "waiting"

    __str__ = str.__str__


def render_page(status: Mapping[str, Any]) -> Response:
    """The page, or only its live part with ``?part=live``."""
    live_only = request.args.get("part") == "live"
    html = render_template(
        f"hazelcast_failover/{'live' if live_only else 'page'}.html",
        status=status,
        standing=_standing(status),
        headline=_headline(status),
        outlook=_outlook(status),
        arrival=_arrival(status),
        history=list(reversed(status["history"]))[:_HISTORY_SHOWN],
        ago=ago,
        primary=status["clusters"][0]["label"],
        workers_on=_workers_on(status),
    )
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _standing(status: Mapping[str, Any]) -> Standing:
    if status["state"] in ("offline", "closed"):
        return Standing.OFFLINE
    if status["current_cluster"] is None:
        return Standing.WAITING
    return Standing.PRIMARY if status["on_primary"] else Standing.ELSEWHERE


def _headline(status: Mapping[str, Any]) -> str:
    primary = status["clusters"][0]["label"]
    match _standing(status):
        case Standing.PRIMARY:
            return "on the primary cluster"
        case Standing.ELSEWHERE:
            return f"not on the primary cluster, {primary}"
        case Standing.OFFLINE:
            return "no cluster can be reached"
        case _:
            return "not connected yet" if status["state"] == "idle" else "looking for a cluster"


def _outlook(status: Mapping[str, Any]) -> str:
    """What an operator wants to know next: can it go back, and is there anything to do?"""
    primary = status["clusters"][0]
    label, standing = primary["label"], _standing(status)
    if status["state"] == "offline":
        return "Every process keeps trying. Restart a cluster, nothing else."
    if standing is not Standing.ELSEWHERE:
        return ""
    if primary["state"] == "standby":
        empty = " All of its members are new: it may be empty." if primary["restarted"] else ""
        return f"{label} can be reached again. A reset goes back there.{empty}"
    if primary["state"] == "down":
        return f"{label} cannot be reached: {primary['last_error']}"
    return ""


def _arrival(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The switch to the current cluster."""
    last = status["history"][-1] if status["history"] else None
    return last if last is not None and last["current"] == status["current_cluster"] else None


def ago(at: str) -> str:
    """How long ago a time by this host's clock was.

    :param at: ISO 8601
    """
    seconds = max(0.0, (datetime.now(timezone.utc) - datetime.fromisoformat(at)).total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now" if seconds < 10 else "less than a minute ago"


def _workers_on(status: Mapping[str, Any]) -> dict[str, int]:
    places = [worker["current_cluster"] for worker in status["fleet"]["workers"]]
    return {place: places.count(place) for place in places if place is not None}
