"""The admin routes answer whatever hosts an app has, and wherever it is mounted."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client, TestResponse

from flask_hazelcast_failover import HazelcastFailover
from tests.support.apps import TOKEN, absent
from tests.support.serving import serve

BEARER = {"Authorization": f"Bearer {TOKEN}"}
FORWARDED = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Host": "shop.example",
    "X-Forwarded-Prefix": "/shop",
    "X-Forwarded-Proto": "https",
}


def host_matching(**config: Any) -> Flask:
    """An app with a page for any host, and one for a certain one."""
    app = Flask("shop", host_matching=True, static_folder=None)
    app.add_url_rule("/", "page", lambda name: name, host="<name>")
    app.add_url_rule("/", "shop", lambda: "shop", host="shop.example")
    return configured(app, **config)


def subdomain_matching(**config: Any) -> Flask:
    """An app with a page for the bare domain, and one for any subdomain."""
    app = Flask("shop", subdomain_matching=True)
    app.add_url_rule("/", "page", lambda name: name, subdomain="<name>")
    app.add_url_rule("/", "shop", lambda: "shop")
    return configured(app, **{"SERVER_NAME": "shop.example", **config})


def plain(**config: Any) -> Flask:
    app = Flask("shop")
    app.add_url_rule("/", "shop", lambda: "shop")
    return configured(app, **config)


def configured(app: Flask, *, prepare: Callable[[Flask], None] | None = None, **config: Any) -> Flask:
    app.config.update(
        HAZELCAST_FAILOVER_CLUSTERS=absent("blue"),
        HAZELCAST_FAILOVER_ADMIN_TOKEN=TOKEN,
        HAZELCAST_FAILOVER_TRY_COUNT=1,
        HAZELCAST_FAILOVER_WAIT_TIMEOUT=1,
        **config,
    )
    if prepare is not None:
        prepare(app)
    HazelcastFailover(app)
    return app


def assert_all_routes_answer(visitor: Client, base_url: str, root: str = "", *, mount: str = "") -> None:
    """Each with a status of its own, the page with links that lead to them, and nothing else below the prefix."""

    def ask(path: str, method: str = "GET", **options: Any) -> TestResponse:
        headers = {**BEARER, **options.pop("headers", {})}
        return visitor.open(
            f"{mount}/hazelcast{path}", base_url, method=method, headers=headers, buffered=True, **options
        )

    assert ask("/health").status_code in (200, 503)
    assert ask("/health/live").get_json() == {"status": "ok"}
    assert ask("/status").get_json()["clusters"][0]["label"] == "blue"
    assert ask("/reset", "POST").status_code in (200, 409)
    assert ask("/switch", "POST", json={"cluster": "nowhere"}).status_code == 400
    assert ask("/openapi.json").get_json()["servers"] == [{"url": f"{root}/hazelcast"}]
    assert ask("/nothing").mimetype == "application/problem+json"
    assert ask("/status", headers={"Authorization": "Bearer other"}).status_code == 401
    page = ask("/").text
    assert ask("").text[:100] == page[:100]
    links = re.findall(r' (?:href|src|data-live|data-reset|data-switch)="([^"]+)"', page)
    paths = ["?part=live", "reset", "static/page.css", "static/page.js", "switch"]
    assert sorted(links) == [*(f"{root}/hazelcast/{path}" for path in paths), "data:,"]
    assert "INTERVAL" in ask("/static/page.js").text
    assert ask("/static/page.js", "POST").status_code == 405
    assert ask("/static/nothing.js").status_code == ask("/static/../page.py").status_code == 404


@pytest.mark.parametrize(
    "base_url",
    ["http://shop.example", "http://Other.example:8080", "http://127.0.0.1:5000", "http://[::1]:5000"],
)
@pytest.mark.parametrize("server_name", [None, "shop.example"])
def test_with_host_matching_they_answer_for_any_host(base_url: str, server_name: str | None) -> None:
    """With or without SERVER_NAME."""
    assert_all_routes_answer(host_matching(SERVER_NAME=server_name).test_client(), base_url)


@pytest.mark.parametrize(
    "base_url", ["http://shop.example", "http://ann.shop.example", "http://a.b.Shop.example"]
)
def test_with_subdomains_they_answer_for_the_domain_and_any_subdomain(base_url: str) -> None:
    """Also for those that the app itself has no page for."""
    assert_all_routes_answer(subdomain_matching().test_client(), base_url)


@pytest.mark.filterwarnings("ignore:Current server name:UserWarning")
def test_with_subdomains_they_answer_for_another_host() -> None:
    """Werkzeug warns of it."""
    assert_all_routes_answer(subdomain_matching().test_client(), "http://127.0.0.1:5000")


@pytest.mark.parametrize(
    ("make", "domain"), [(host_matching, {"host": "<name>"}), (subdomain_matching, {}), (plain, {})]
)
def test_a_catch_all_leaves_them(make: Any, domain: dict[str, Any]) -> None:
    """One for any host, or for the domain without subdomains, that was there before."""

    def catch_all(app: Flask) -> None:
        app.add_url_rule("/<path:path>", "all", lambda path, **_: path, **domain)

    visitor = make(prepare=catch_all).test_client()
    assert_all_routes_answer(visitor, "http://shop.example")
    assert visitor.get("/other", base_url="http://shop.example").text == "other"


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
def test_the_apps_own_pages_are_as_before(make: Any) -> None:
    """Those for a certain host, and those for any."""
    visitor = make().test_client()
    assert visitor.get("/", base_url="http://shop.example").text == "shop"
    if make is not plain:
        assert visitor.get("/", base_url="http://ann.shop.example").text.startswith("ann")


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
@pytest.mark.parametrize("host", ["10.0.0.7:8080", "elsewhere.example", "[::1]:5000", "", "a_b..c", None])
@pytest.mark.parametrize(
    "trusted", [None, ["shop.example"], [".shop.example"], ["other.example", "shop.example:443"]]
)
@pytest.mark.parametrize("server_name", ["shop.example", "shop.example:8000"])
def test_health_answers_for_any_host(
    make: Any, host: str | None, trusted: list[str] | None, server_name: str
) -> None:
    """Probes use an address, which no list of trusted hosts has."""
    visitor = make(SERVER_NAME=server_name, TRUSTED_HOSTS=trusted).test_client()
    environ = {"HTTP_HOST": host}
    assert visitor.get("/hazelcast/health", environ_overrides=environ).status_code in (200, 503)
    live = visitor.get("/hazelcast/health/live", environ_overrides=environ)
    assert live.get_json() == {"status": "ok"}


def test_a_probe_without_a_host_is_answered_by_a_server() -> None:
    """That is HTTP/1.0; a probe with an address gets the same, though only one name is trusted."""
    app = "tests.support.served_app:create_app(host_matching=True, trusted_hosts=['127.0.0.1'])"
    with serve("blue", app=app) as served:
        for headers in ("", "Host: 10.0.0.7:8080\r\n", "Host: [::1]\r\n"):
            with socket.create_connection(("127.0.0.1", urlsplit(served.url).port or 0), timeout=10) as probe:
                probe.sendall(f"GET /hazelcast/health/live HTTP/1.0\r\n{headers}\r\n".encode())
                assert b" 200 OK" in probe.recv(100)


@pytest.mark.parametrize("make", [host_matching, plain])
def test_other_routes_answer_for_trusted_hosts_only(make: Any) -> None:
    """As all of the app."""
    visitor = make(TRUSTED_HOSTS=["shop.example"]).test_client()
    assert_all_routes_answer(visitor, "http://shop.example")
    answer = visitor.get("/hazelcast/status", base_url="http://elsewhere.example", headers=BEARER)
    assert answer.status_code == 400


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
def test_below_an_application_root_links_lead_to_them(make: Any) -> None:
    """An app that another mounts at a path."""
    app = make(APPLICATION_ROOT="/shop")
    mounted = Client(DispatcherMiddleware(Flask("portal").wsgi_app, {"/shop": app}))
    assert_all_routes_answer(mounted, "http://shop.example", "/shop", mount="/shop")


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
@pytest.mark.parametrize("fixed", ["before", "after"])
def test_behind_a_proxy_with_a_prefix_they_answer_its_pages(make: Any, fixed: str) -> None:
    """ProxyFix tells the app its outer address, which the page's own origin is compared with."""

    def fix(app: Flask) -> None:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]

    app = make(TRUSTED_HOSTS=["shop.example"], prepare=fix if fixed == "before" else None)
    if fixed == "after":
        fix(app)

    class Proxy(FlaskClient):
        def open(self, *args: Any, **kwargs: Any) -> Any:
            kwargs["headers"] = {**FORWARDED, **(kwargs.get("headers") or {})}
            return super().open(*args, **kwargs)

    visitor = Proxy(app)
    assert_all_routes_answer(visitor, "http://127.0.0.1:8000", "/shop")
    origins = {"https://shop.example": 409, "https://evil.example": 403, "http://127.0.0.1:8000": 403}
    for origin, status in origins.items():
        headers = {**BEARER, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
        answer = visitor.post("/hazelcast/reset", base_url="http://127.0.0.1:8000", headers=headers)
        assert answer.status_code == status


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
def test_the_app_can_link_to_the_page(make: Any) -> None:
    """From its own pages and, with SERVER_NAME, from outside a request."""
    app = make(SERVER_NAME="shop.example")
    with app.test_request_context("/", "http://shop.example"):
        assert url_for("hazelcast_failover.page") == "/hazelcast/"
    with app.app_context():
        assert url_for("hazelcast_failover.page") == "http://shop.example/hazelcast/"


@pytest.mark.parametrize("make", [host_matching, subdomain_matching, plain])
def test_the_command_line_needs_no_host(make: Any) -> None:
    """It asks the clusters, not the app."""
    result = make(SERVER_NAME="shop.example").test_cli_runner().invoke(args=["hazelcast", "check"])
    assert result.exit_code == 2
