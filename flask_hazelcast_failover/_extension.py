"""HazelcastFailover: an app's configuration in, ``ext.client`` out."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Flask

from . import signals
from ._admin import Access, AdminAuth, answer_probes_for_any_host, create_blueprint
from ._app_state import KEY, AppState, AppStates
from ._cli.commands import commands
from ._flask_app import is_flask_app, unproxied
from ._fleet import Fleet, server_name
from ._fleet_control import FleetControl
from ._offline.http_errors import answer_when_offline
from ._offline.session_store import serve_without_sessions, warn_of_lost_sessions
from ._settings import Settings
from ._threads import helper_thread
from .client import HazelcastClient
from .client.control import OfficialClient
from .client.events import Event
from .client.options import Failback

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class HazelcastFailover:
    """The extension. It may serve several apps, each with its own client.

    :param app: initialised at once; without it, call :meth:`init_app` later
    :param admin_auth: opens the admin routes: gets a request and returns the user's name, or ``None`` to refuse
    """

    def __init__(self, app: Flask | None = None, *, admin_auth: AdminAuth | None = None) -> None:
        if admin_auth is not None and not callable(admin_auth):
            raise TypeError(f"admin_auth must be a callable or None, not a {type(admin_auth).__name__}")
        self._admin_auth = admin_auth
        self.app_states = AppStates()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read and check the app's configuration and set the app up. Touches no network.

        :param app: an app, or ``current_app`` inside an app context
        :raises TypeError: for a value of the wrong type
        :raises ValueError: for a bad value, a missing or an unknown key
        :raises RuntimeError: the app has this extension already
        """
        app = unproxied("app", app)
        if not is_flask_app(app):
            raise TypeError(f"app must be a Flask app, not a {type(app).__name__}")
        if KEY in app.extensions:
            raise RuntimeError("HazelcastFailover.init_app() was called before for this app: once is enough")
        settings = Settings.from_config(app.config)
        client = HazelcastClient(settings.clusters, **_client_keywords(settings, lambda: fleet))
        is_named = settings.fleet is not None
        fleet = Fleet(client, settings.options, _fleet_name(app, settings), is_named=is_named)
        _wire(app, client, fleet)
        state = AppState(settings, client, fleet)
        self._add_admin(app, state)
        answer_when_offline(app)
        warn_of_lost_sessions(app)
        app.cli.add_command(commands)
        self.app_states[app] = state
        app.extensions[KEY] = self

    @property
    def client(self) -> HazelcastClient:
        """The client of the current app. Does not connect: the first operation does.

        :raises RuntimeError: outside an app context, or without ``init_app`` for the current app
        """
        return self.app_states.current().client

    @property
    def settings(self) -> Settings:
        """The checked configuration of the current app.

        :raises RuntimeError: outside an app context, or without ``init_app`` for the current app
        """
        return self.app_states.current().settings

    @property
    def steering(self) -> FleetControl:
        """The control over the fleet of the current app: its status, and switches of all its processes.

        :raises RuntimeError: outside an app context, or without ``init_app`` for the current app
        """
        return self.app_states.current().fleet_control

    @contextmanager
    def substitute(self, app: Flask, client: Any) -> Iterator[None]:
        """Replace ``ext.client`` for an app within the block, for unit tests without Hazelcast.

        :param client: whatever offers what the app uses
        :raises RuntimeError: without ``init_app`` for the app
        """
        app = unproxied("app", app)
        state = self.app_states.of(app)
        self.app_states[app] = replace(state, client=client)
        try:
            yield
        finally:
            self.app_states[app] = state

    def _add_admin(self, app: Flask, state: AppState) -> None:
        prefix = state.settings.admin_url_prefix
        if prefix is None:
            return
        access = Access(state.settings.admin_token, self._admin_auth)
        app.register_blueprint(create_blueprint(app, prefix, state.client, state.fleet_control, access))
        answer_probes_for_any_host(app, prefix)
        serve_without_sessions(app, prefix, state.client)


def _wire(app: Flask, client: HazelcastClient, fleet: Fleet) -> None:
    client.control.attach(fleet)
    client.subscribe(fleet.on_event)
    client.subscribe(_announcer(weakref.ref(app), fleet))
    # A middleware, not a before_request function: Flask opens the session before those.
    app.wsgi_app = _mark_serving(fleet, app.wsgi_app)  # type: ignore[assignment, method-assign]
    # Dropping an app, as tests do, shuts down its client. At exit the client does so itself.
    weakref.finalize(app, _shut_down, client).atexit = False


def _mark_serving(fleet: Fleet, wsgi_app: WSGIApplication) -> WSGIApplication:
    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        fleet.on_request()
        return wsgi_app(environ, start_response)

    return middleware


def _client_keywords(settings: Settings, get_fleet: Callable[[], Fleet]) -> dict[str, Any]:
    keywords = settings.client_keywords()
    own_check = settings.options.ready_check
    if settings.options.failback is Failback.AUTO:

        def ready_check(official: OfficialClient) -> bool:
            may_fail_back = get_fleet().may_fail_back_to(official)
            return may_fail_back and (own_check is None or bool(own_check(official)))

        keywords["ready_check"] = ready_check
    return keywords


def _fleet_name(app: Flask, settings: Settings) -> Callable[[], str]:
    configured = settings.fleet
    if configured is not None:
        return lambda: configured
    clusters = [
        repr((cluster.label, cluster.cluster_name, cluster.addresses, cluster.dns))
        for cluster in settings.clusters.clusters
    ]
    return server_name(app.name, app.root_path, *clusters)


def _announcer(app_ref: weakref.ref[Flask], fleet: Fleet) -> Callable[[Event], None]:
    def announce(event: Event) -> None:
        app = app_ref()
        if app is not None:
            signals.announce(app, fleet.annotate(event))

    return announce


def _shut_down(client: HazelcastClient) -> None:
    # In a thread, since the garbage collector calls this in any thread, which may hold any lock.
    helper_thread(client.shutdown, "hazelcast-failover-drop").start()
