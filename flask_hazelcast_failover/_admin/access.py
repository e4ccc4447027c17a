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

from .._foreign_text import MAX_NAME, printable

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

    def challenges(self) -> list[WWWAuthenticate]:
        """The ``WWW-Authenticate`` headers: the schemes to sign in with."""
        bearer = WWWAuthenticate("bearer", {"realm": _REALM})
        if self.token is None:
            return [bearer]
        # Basic first: some browsers look at the first one only, and programs need none.
        return [WWWAuthenticate("basic", {"realm": _REALM, "charset": "UTF-8"}), bearer]

    def user_with_token(self, request: Request) -> str | None:
        """The name of a user who has sent the token, or ``None``. It can be logged, stored and shown."""
        if self.token is None:
            return None
        # Not request.authorization: that parses a token with "=" in it as parameters.
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            user, password = "", _as_sent(credentials.strip(" \t"))
        elif scheme.lower() == "basic":
            user, password = _user_and_password(credentials)
        else:
            return None
        if not hmac.compare_digest(password, self.token.encode("utf-8", "surrogatepass")):
            return None
        # The user's name goes to the log: it must not be shown if somebody has typed the token there.
        return _PROGRAM if not user or self.token in user else printable(user, MAX_NAME)

    def user_of_app(self, request: Request) -> str | None:
        """The name of a user whom the app's function lets in, or ``None``. It can be logged, stored and shown.

        :raises TypeError: the function returns neither a name nor ``None``
        """
        if self.admin_auth is None:
            return None
        name = self.admin_auth(request)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"admin_auth must return a name or None, not a {type(name).__name__}")
        return printable(name, MAX_NAME) if name else None


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


def _as_sent(header: str) -> bytes:
    """The bytes of a header's text: a server decodes each to one character."""
    try:
        return header.encode("latin-1")
    except UnicodeEncodeError:  # no server's doing
        return header.encode("utf-8", "surrogatepass")


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
