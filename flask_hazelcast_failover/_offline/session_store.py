"""Sessions that a session interface keeps in a Hazelcast map, such as those of Flask-Session, while no cluster answers."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING, Any

from flask import Flask, request_started
from flask.sessions import SecureCookieSessionInterface

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..client import HazelcastClient

_logger = logging.getLogger("flask_hazelcast_failover")

# Where an app keeps that its session interface was looked at for good.
_CHECKED = "hazelcast_failover_session_store"


def warn_of_lost_sessions(app: Flask) -> None:
    """Warn once if the app's sessions are in a cache that is empty in an outage, now or at the first request."""
    _check(app)
    if _CHECKED not in app.extensions:  # other extensions may be initialised later
        request_started.connect(_on_first_request, app)


def check_session_store(app: Flask) -> None:
    """Warn once if the app's sessions are in a cache that is empty in an outage. To be called in a request."""
    if _CHECKED not in app.extensions:
        _check(app)
        app.extensions[_CHECKED] = True


def serve_without_sessions(app: Flask, prefix: str, client: HazelcastClient) -> None:
    """Serve what is below a prefix although the visitor's session cannot be loaded, while no cluster can be reached.

    Flask opens the session before it looks which view is asked for, so a store that raises would end each request.
    """
    app_ref, wsgi_app = weakref.ref(app), app.wsgi_app

    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if f"{environ.get('PATH_INFO', '')}/".startswith(f"{prefix}/") and client.status().state == "offline":
            _drop_session_cookie(environ, app_ref())
        return wsgi_app(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]


def _on_first_request(app: Flask, **_: object) -> None:
    request_started.disconnect(_on_first_request, app)
    check_session_store(app)


def _check(app: Flask) -> None:
    for name, store in _stores(app):
        if getattr(store, "when_offline", None) == "miss":
            app.extensions[_CHECKED] = True
            _logger.warning(
                "the sessions of %r are in a cache with when_offline='miss' (%s): one request while no cluster answers"
                " signs a visitor out for good, with a new session id. Give that cache when_offline='raise': such"
                " requests are then answered with 503, and visitors stay signed in",
                app.name,
                name,
            )
            return


def _stores(app: Flask) -> Iterator[tuple[str, Any]]:
    """What the app's sessions may be kept in, with where that was found."""
    interface = app.session_interface
    if str(app.config.get("SESSION_TYPE")).lower() == "cachelib":
        yield "SESSION_CACHELIB", app.config.get("SESSION_CACHELIB")
    for holder in (interface, *type(interface).__mro__):
        for name, held in getattr(holder, "__dict__", {}).items():
            where = f"{type(interface).__name__}.{name}"
            yield where, held
            # A Cache of Flask-Caching, which keeps its backends by app.
            backends = app.extensions.get("cache")
            if isinstance(backends, dict):
                yield from ((where, backend) for cache, backend in backends.items() if cache is held)


def _drop_session_cookie(environ: WSGIEnvironment, app: Flask | None) -> None:
    if app is None or isinstance(app.session_interface, SecureCookieSessionInterface):
        return  # the cookie itself holds the session
    name = app.config["SESSION_COOKIE_NAME"]
    cookies = environ.get("HTTP_COOKIE", "").split(";")
    environ["HTTP_COOKIE"] = ";".join(c for c in cookies if c.partition("=")[0].strip() != name)
