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

AdminAuth = Callable[[Request], "str | None"]
"""Gets a request and returns the user's name, or ``None`` to refuse."""

_REALM = "Hazelcast failover"
_PROGRAM = "token"  # where a program signs in without a user's name


@dataclass(frozen=True)
class Access:
    """How users sign in: with a token, by a function of the app, either, or not at all."""

    token: str | None = field(repr=False)
    admin_auth: AdminAuth | None

    @property
    def is_open(self) -> bool:
        """Whether anybody can sign in."""
        return self.token is not None or self.admin_auth is not None

    def user(self, request: Request) -> str | None:
        """The name of the user who may use the routes, or ``None``.

        :raises TypeError: the app's function returns neither a name nor ``None``
        """
        return self._user_with_token(request) or self._user_of_app(request)

    def challenges(self) -> list[WWWAuthenticate]:
        """The ``WWW-Authenticate`` headers: the schemes to sign in with."""
        bearer = WWWAuthenticate("bearer", {"realm": _REALM})
        if self.token is None:
            return [bearer]
        # Basic first: some browsers look at the first one only, and programs need none.
        return [WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"}), bearer]

    def _user_with_token(self, request: Request) -> str | None:
        if self.token is None:
            return None
        # Not request.authorization: that parses a token with "=" in it as parameters.
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user, password = "", credentials.strip().encode("latin-1", "replace")
        elif scheme.lower() == "basic":
            user, password = _user_and_password(credentials)
        else:
            return None
        if not hmac.compare_digest(password, self.token.encode()):
            return None
        # The user's name goes to the log: it must not be shown if somebody has typed the token there.
        return _PROGRAM if not user or self.token in user else user

    def _user_of_app(self, request: Request) -> str | None:
        if self.admin_auth is None:
            return None
        name = self.admin_auth(request)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"admin_auth must return a name or None, not a {type(name).__name__}")
        return name or None


def refuse_foreign_pages(request: Request) -> None:
    """Raise ``Forbidden`` for a request that a browser sends from another site's page.

    A browser sends the password with a forged form, too; only these headers reveal it.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise Forbidden("The request comes from a page of another site (Sec-Fetch-Site).")
    origin = request.headers.get("Origin")
    if origin is None:
        return
    theirs, ours = _Origin.of(origin), _Origin.of(f"{request.scheme}://{request.host}")
    # Behind a proxy that terminates TLS the app sees another scheme; Sec-Fetch-Site has compared it already.
    same_scheme = site is not None or theirs.scheme == ours.scheme
    if theirs.host != ours.host or not same_scheme:
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
    host: str  # with the port, unless that is the scheme's default

    @classmethod
    def of(cls, url: str) -> _Origin:
        scheme, _, host = url.lower().partition("://")
        default_port = {"http": ":80", "https": ":443"}.get(scheme, "")
        return cls(scheme, host.removesuffix(default_port))
