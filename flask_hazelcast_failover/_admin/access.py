"""Who may use the admin routes, and from which pages a browser may send an action."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden

__all__ = ["Access", "AdminAuth", "refuse_foreign_pages"]

AdminAuth = Callable[[Request], "str | None"]
"""Gets a request and says who asks, or ``None`` for nobody who may."""

_REALM = "Hazelcast failover"
_PROGRAM = "token"


@dataclass(frozen=True)
class Access:
    """The ways in: a token, a function of the app's, both, or none."""

    token: str | None = field(repr=False)
    admin_auth: AdminAuth | None

    @property
    def is_open(self) -> bool:
        """Whether there is any way in."""
        return self.token is not None or self.admin_auth is not None

    def who_asks(self, request: Request) -> str | None:
        """Return the name of who asks, ``None`` for nobody who may.

        Raises ``TypeError`` when the app's function returns neither a name nor ``None``.
        """
        return self._holder_of_token(request) or self._known_to_app(request)

    def challenges(self) -> list[WWWAuthenticate]:
        """Return what a browser or a program is told that it may sign in with."""
        bearer = WWWAuthenticate("bearer", {"realm": _REALM})
        if self.token is None:
            return [bearer]
        # Basic first: there are browsers that look at the first one only, and programs need none.
        return [WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"}), bearer]

    def _holder_of_token(self, request: Request) -> str | None:
        if self.token is None:
            return None
        # Not request.authorization: that takes a token with "=" in it for parameters.
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user, given = "", credentials.strip().encode("latin-1", "replace")
        elif scheme.lower() == "basic":
            user, given = _user_and_password(credentials)
        else:
            return None
        if not hmac.compare_digest(given, self.token.encode()):
            return None
        # Who typed the token as the user's name as well must not find it in the log.
        return _PROGRAM if not user or self.token in user else user

    def _known_to_app(self, request: Request) -> str | None:
        if self.admin_auth is None:
            return None
        name = self.admin_auth(request)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"admin_auth must return a name or None, not a {type(name).__name__}")
        return name or None


def refuse_foreign_pages(request: Request) -> None:
    """Raise ``Forbidden`` when a browser sends the request for a page that is not this app's.

    A browser sends the password it knows along with a forged form, and only these headers tell.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise Forbidden("The request comes from a page of another site (Sec-Fetch-Site).")
    origin = request.headers.get("Origin")
    if origin is None:
        return
    there, here = _Origin.of(origin), _Origin.of(f"{request.scheme}://{request.host}")
    # A proxy that ends TLS hides the scheme from the app; a browser that sends Sec-Fetch-Site vouches for it.
    same_scheme = site is not None or there.scheme == here.scheme
    if there.place != here.place or not same_scheme:
        raise Forbidden("The request comes from a page of another site (Origin).")


def _user_and_password(credentials: str) -> tuple[str, bytes]:
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", b""
    user, _, password = decoded.partition(b":")
    return user.decode("utf-8", "replace"), password


@dataclass(frozen=True)
class _Origin:
    scheme: str
    place: str

    @classmethod
    def of(cls, url: str) -> _Origin:
        scheme, _, place = url.lower().partition("://")
        default_port = {"http": ":80", "https": ":443"}.get(scheme, "")
        return cls(scheme, place.removesuffix(default_port))
