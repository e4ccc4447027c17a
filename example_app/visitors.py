"""The visitor's id in a signed cookie, and tokens against forged forms."""

from __future__ import annotations

import hmac
import secrets

from flask import abort, request, session

__all__ = ["check_form", "form_token", "visitor_id"]


def visitor_id() -> str:
    """Return the id of the visitor, a new one at the first visit. Flask signs the cookie that keeps it."""
    if "visitor" not in session:
        session["visitor"] = secrets.token_urlsafe(16)
    visitor: str = session["visitor"]
    return visitor


def form_token() -> str:
    """Return the token that every form sends, which other sites cannot know."""
    if "form_token" not in session:
        session["form_token"] = secrets.token_urlsafe(16)
    token: str = session["form_token"]
    return token


def check_form() -> None:
    """Refuse a form without the token of this visitor."""
    given = request.form.get("form_token", "")
    if not hmac.compare_digest(given.encode(), session.get("form_token", "").encode()) or not given:
        abort(
            400,
            "This form is not from a page of this visit. Please open the page again and repeat what you did.",
        )
