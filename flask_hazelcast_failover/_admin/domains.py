"""The hosts for which the admin routes answer: with host or subdomain matching, all for which the app is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask
from flask.globals import app_ctx, request_ctx
from werkzeug.routing import BaseConverter
from werkzeug.sansio.utils import host_is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# A variable part of the rules, which no view gets, and its converter.
_DOMAIN = "hazelcast_failover_domain"
_ANY = f"<{_DOMAIN}:{_DOMAIN}>"


class Domains:
    """Makes the rules of a blueprint match in any domain of an app, and their URLs stay in the request's."""

    def __init__(self, app: Flask, blueprint: Blueprint) -> None:
        self.rule_options = _rule_options(app)
        """The options of ``add_url_rule``, one for each rule that a route needs."""
        blueprint.url_value_preprocessor(_drop_domain)
        blueprint.url_defaults(_stay_in_domain)


def answer_probes_for_any_host(app: Flask, prefix: str) -> None:
    """Let health probes through whatever their ``Host`` is: they use addresses, which ``TRUSTED_HOSTS`` does not list.

    They get one that the app accepts, since Flask refuses others before any route is asked.
    """
    wsgi_app = app.wsgi_app
    probed = (f"{prefix}/health", f"{prefix}/health/live")

    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in probed:
            environ = {**environ, "HTTP_HOST": _accepted_host(app)}
            for name in ("HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT"):  # ProxyFix may come after this
                environ.pop(name, None)
        return wsgi_app(environ, start_response)

    app.wsgi_app = middleware  # type: ignore[method-assign]


class _AnyDomain(BaseConverter):
    """Any, also none, as it is: an address in brackets, and what werkzeug calls a domain that is not the app's."""

    regex = "[^/]*"
    part_isolating = True
    weight = 0  # before what an app has for any domain, such as <host>

    def to_url(self, value: str) -> str:
        return value


def _rule_options(app: Flask) -> Sequence[dict[str, Any]]:
    app.url_map.converters[_DOMAIN] = _AnyDomain
    if app.url_map.host_matching:
        return ({"host": _ANY},)
    # The first one also: rules for a certain domain come before those for any, such as an app's /<path:path>.
    return ({}, {"subdomain": _ANY}) if app.subdomain_matching else ({},)


def _drop_domain(endpoint: str | None, values: dict[str, Any] | None) -> None:
    if values is not None:
        values.pop(_DOMAIN, None)


def _stay_in_domain(endpoint: str, values: dict[str, Any]) -> None:
    context = request_ctx or app_ctx
    adapter = context.url_adapter if context else None
    if adapter is not None and adapter.map.is_endpoint_expecting(endpoint, _DOMAIN):
        values[_DOMAIN] = adapter.server_name if adapter.map.host_matching else adapter.subdomain


def _accepted_host(app: Flask) -> str:
    trusted: Sequence[str] = app.config.get("TRUSTED_HOSTS") or app.request_class.trusted_hosts or ()
    own = app.config["SERVER_NAME"]
    hosts: list[str] = [
        host.removeprefix(".").encode("idna").decode() for host in (own, *trusted, "localhost") if host
    ]
    accepted = (host for host in hosts if not trusted or host_is_trusted(host, trusted))
    return next(accepted, hosts[0])
