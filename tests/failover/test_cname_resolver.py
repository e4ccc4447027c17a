"""CNAMEResolver against a real DNS server on loopback."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import dns.resolver
import pytest

from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import CNAMEResolver
from tests.support.dns import Addresses, Failure, LoopbackDns, default_resolver, no_dns_server_configured
from tests.support.fair_time import fair_time
from tests.support.waiting import eventually

NAME = "hazelcast.internal.example.com"


@pytest.fixture
def server() -> Iterator[LoopbackDns]:
    with LoopbackDns() as started, default_resolver(started):
        yield started


def test_every_address_of_the_name_is_returned_with_the_port(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.3", "127.0.0.2")
    assert CNAMEResolver(NAME, port=5702).resolve() == ["127.0.0.3:5702", "127.0.0.2:5702"]


def test_a_chain_of_cnames_is_followed(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2", through=("eu.example.com", "node.example.com"))
    assert CNAMEResolver(NAME).resolve() == ["127.0.0.2:5701"]


def test_an_address_listed_twice_is_returned_once(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2", "127.0.0.2")
    assert CNAMEResolver(NAME).resolve() == ["127.0.0.2:5701"]


def test_an_answer_too_long_for_udp_is_fetched_over_tcp(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",), over_tcp_only=True))
    assert CNAMEResolver(NAME).resolve() == ["127.0.0.2:5701"]
    assert server.transports(NAME) == ["udp", "tcp"]


def test_an_ipv4_address_is_not_looked_up(server: LoopbackDns) -> None:
    resolver = CNAMEResolver("127.0.0.9")
    assert resolver.resolve() == resolver.refresh() == ["127.0.0.9:5701"]
    assert server.queries("127.0.0.9") == 0


def test_a_short_name_is_completed_by_the_search_list(server: LoopbackDns) -> None:
    server.answer("hazelcast.shop.svc.cluster.local", "127.0.0.2")
    with default_resolver(server, search=("other.svc.cluster.local", "shop.svc.cluster.local")):
        assert CNAMEResolver("hazelcast").resolve() == ["127.0.0.2:5701"]


def test_each_lookup_uses_the_current_default_resolver(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2")
    resolver = CNAMEResolver(NAME)
    resolver.resolve()
    with LoopbackDns() as another, default_resolver(another):
        another.answer(NAME, "127.0.0.3")
        assert resolver.refresh() == ["127.0.0.3:5701"]


def test_an_answer_is_kept_for_the_refresh_interval(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Addresses(("127.0.0.3",)))
    resolver = CNAMEResolver(NAME, refresh_interval=60.0)
    assert resolver.resolve() == resolver.resolve() == ["127.0.0.2:5701"]
    assert server.queries(NAME) == 1


def test_resolve_looks_up_again_after_the_refresh_interval(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Addresses(("127.0.0.3",)))
    resolver = CNAMEResolver(NAME, refresh_interval=0.05)
    assert resolver.resolve() == ["127.0.0.2:5701"]
    eventually(lambda: resolver.resolve() == ["127.0.0.3:5701"])


def test_refresh_looks_up_at_once(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Addresses(("127.0.0.3",)))
    resolver = CNAMEResolver(NAME)
    assert resolver.resolve() == ["127.0.0.2:5701"]
    assert resolver.refresh() == ["127.0.0.3:5701"]
    assert resolver.resolve() == ["127.0.0.3:5701"]
    assert resolver.addresses == ("127.0.0.3:5701",)


def test_refresh_bypasses_the_cache_of_the_default_resolver(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Addresses(("127.0.0.3",)))
    dns.resolver.get_default_resolver().cache = dns.resolver.Cache()
    resolver = CNAMEResolver(NAME)
    assert resolver.resolve() == ["127.0.0.2:5701"]
    assert resolver.refresh() == ["127.0.0.3:5701"]


def test_the_returned_list_is_a_copy(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2")
    resolver = CNAMEResolver(NAME)
    resolver.resolve().clear()
    assert resolver.resolve() == ["127.0.0.2:5701"]


FAILURES = [
    pytest.param(Failure.SERVFAIL, "SERVFAIL", id="servfail"),
    pytest.param(Failure.REFUSED, "REFUSED", id="refused"),
    pytest.param(Failure.NXDOMAIN, "NXDOMAIN", id="nxdomain"),
    pytest.param(Failure.EMPTY, "empty answer", id="empty"),
    pytest.param(Failure.SILENCE, "timed out", id="silence"),
]


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_failed_lookup_keeps_the_last_known_addresses(
    server: LoopbackDns, failure: Failure, reason: str
) -> None:
    """last_error says why it failed."""
    server.answer(NAME, "127.0.0.2")
    resolver = CNAMEResolver(NAME)
    assert resolver.resolve() == ["127.0.0.2:5701"]
    assert resolver.last_error is None
    server.reply(NAME, failure)
    with default_resolver(server, lifetime=0.3):
        assert resolver.refresh() == ["127.0.0.2:5701"]
        assert resolver.resolve() == ["127.0.0.2:5701"]
    assert reason in str(resolver.last_error)
    server.answer(NAME, "127.0.0.3")
    assert resolver.refresh() == ["127.0.0.3:5701"]
    assert resolver.last_error is None


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
def test_a_name_that_never_resolved_is_an_error(server: LoopbackDns, failure: Failure, reason: str) -> None:
    server.reply(NAME, failure)
    resolver = CNAMEResolver(NAME)
    with default_resolver(server, lifetime=0.3):
        for ask in (resolver.resolve, resolver.refresh):
            with pytest.raises(ClientOfflineException) as caught:
                ask()
            assert NAME in str(caught.value)
            assert reason in str(caught.value)
    server.answer(NAME, "127.0.0.2")
    assert resolver.resolve() == ["127.0.0.2:5701"]


@pytest.mark.timing
def test_a_lookup_ends_within_ten_seconds(
    server: LoopbackDns,
) -> None:
    """However long the default resolver would try."""
    server.reply(NAME, Failure.SILENCE)
    began = fair_time()
    with default_resolver(server, lifetime=60.0), pytest.raises(ClientOfflineException, match="timed out"):
        CNAMEResolver(NAME).resolve()
    assert fair_time() - began < 10


@pytest.mark.timing
def test_refresh_takes_a_timeout(server: LoopbackDns) -> None:
    server.reply(NAME, Failure.SILENCE)
    began = fair_time()
    with pytest.raises(ClientOfflineException, match="timed out"):
        CNAMEResolver(NAME).refresh(timeout=0.1)
    assert fair_time() - began < 1


def test_without_dns_servers_the_error_says_so() -> None:
    with (
        no_dns_server_configured(),
        pytest.raises(ClientOfflineException, match="no DNS server is configured"),
    ):
        CNAMEResolver(NAME).resolve()


def test_the_next_server_is_asked_when_the_first_one_fails(server: LoopbackDns) -> None:
    server.reply(NAME, Failure.SERVFAIL)
    with LoopbackDns() as second, default_resolver(server, second):
        second.answer(NAME, "127.0.0.2")
        assert CNAMEResolver(NAME).resolve() == ["127.0.0.2:5701"]


def test_after_a_failure_resolve_pauses(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Failure.SERVFAIL)
    resolver = CNAMEResolver(NAME, refresh_interval=60.0)
    resolver.resolve()
    resolver.refresh()
    for _ in range(5):
        assert resolver.resolve() == ["127.0.0.2:5701"]
    assert server.queries(NAME) == 2


def test_after_a_failure_a_short_refresh_interval_is_kept(server: LoopbackDns) -> None:
    server.reply(NAME, Addresses(("127.0.0.2",)), Failure.SERVFAIL, Addresses(("127.0.0.3",)))
    resolver = CNAMEResolver(NAME, refresh_interval=0.05)
    resolver.resolve()
    resolver.refresh()
    eventually(lambda: resolver.resolve() == ["127.0.0.3:5701"])


def test_an_outage_of_dns_is_one_warning(server: LoopbackDns, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_hazelcast_failover.dns")
    resolver = CNAMEResolver(NAME)
    for replies in ([Failure.SERVFAIL] * 3, [Failure.EMPTY] * 2):
        server.answer(NAME, "127.0.0.2")
        resolver.refresh()
        caplog.clear()
        for reply in replies:
            server.reply(NAME, reply)
            resolver.refresh()
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert NAME in warning
        assert "127.0.0.2:5701" in warning


def test_concurrent_calls_share_one_lookup(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2", after=0.3)
    resolver = CNAMEResolver(NAME)
    together = threading.Barrier(8)

    def ask() -> list[str]:
        together.wait(5)
        return resolver.resolve()

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(10) for future in [pool.submit(ask) for _ in range(8)]]
    assert answers == [["127.0.0.2:5701"]] * 8
    assert server.queries(NAME) == 1


def test_concurrent_calls_share_a_failure(server: LoopbackDns) -> None:
    server.reply(NAME, Failure.SILENCE)
    resolver = CNAMEResolver(NAME)
    together = threading.Barrier(4)

    def ask() -> BaseException | None:
        together.wait(5)
        try:
            resolver.resolve()
        except ClientOfflineException as error:
            return error
        return None

    with default_resolver(server, lifetime=0.3), ThreadPoolExecutor(4) as pool:
        errors = [future.result(10) for future in [pool.submit(ask) for _ in range(4)]]
    assert all("timed out" in str(error) for error in errors)
    assert server.queries(NAME) == 1


def test_any_exception_of_a_resolver_is_a_failed_lookup(server: LoopbackDns) -> None:
    class Broken(dns.resolver.Resolver):
        def resolve(self, *args: object, **kwargs: object) -> dns.resolver.Answer:
            raise RuntimeError("out of order")

    server.answer(NAME, "127.0.0.2")
    resolver = CNAMEResolver(NAME)
    resolver.resolve()
    dns.resolver.default_resolver = Broken(configure=False)
    assert resolver.refresh() == ["127.0.0.2:5701"]
    assert resolver.last_error == "RuntimeError: out of order"


def test_a_custom_resolver_needs_only_resolve(server: LoopbackDns) -> None:
    class Narrow:
        def resolve(self, *args: Any, **kwargs: Any) -> dns.resolver.Answer:
            return asked.resolve(*args, **kwargs)

    asked = dns.resolver.get_default_resolver()
    server.answer(NAME, "127.0.0.2")
    dns.resolver.default_resolver = Narrow()  # type: ignore[assignment]
    assert CNAMEResolver(NAME).resolve() == ["127.0.0.2:5701"]


def test_no_thread_is_started(server: LoopbackDns) -> None:
    server.answer(NAME, "127.0.0.2")
    before = {thread for thread in threading.enumerate() if "process_request" not in thread.name}
    resolver = CNAMEResolver(NAME, refresh_interval=0.01)
    resolver.resolve()
    resolver.refresh()
    after = {thread for thread in threading.enumerate() if "process_request" not in thread.name}
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"dns_name": ""}, ValueError, "dns_name"),
        ({"dns_name": None}, TypeError, "dns_name"),
        ({"dns_name": "name:5701"}, ValueError, "dns_name"),
        ({"dns_name": "::1"}, ValueError, "IPv6"),
        ({"dns_name": "two words"}, ValueError, "dns_name"),
        ({"dns_name": "a" * 64 + ".example"}, ValueError, "dns_name"),
        ({"dns_name": "a..example"}, ValueError, "dns_name"),
        ({"port": 0}, ValueError, "port"),
        ({"port": 65536}, ValueError, "port"),
        ({"port": "5701"}, TypeError, "port"),
        ({"port": True}, TypeError, "port"),
        ({"refresh_interval": -1}, ValueError, "refresh_interval"),
        ({"refresh_interval": float("nan")}, ValueError, "refresh_interval"),
        ({"refresh_interval": "60"}, TypeError, "refresh_interval"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, object], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        CNAMEResolver(**{"dns_name": NAME, **arguments})  # type: ignore[arg-type]


def test_the_error_of_a_foreign_resolver_is_short_and_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    class Raising:
        def resolve(self, *_: Any, **__: Any) -> Any:
            raise OSError("\x1b[31mred\nsecond line" * 500)

    resolver = CNAMEResolver(NAME)
    before, dns.resolver.default_resolver = dns.resolver.default_resolver, cast("Any", Raising())
    try:
        with pytest.raises(ClientOfflineException) as caught:
            resolver.resolve()
    finally:
        dns.resolver.default_resolver = before
    for text in (str(caught.value), resolver.last_error or "", *(one.getMessage() for one in caplog.records)):
        assert "\\x1b[31mred\\nsecond" in text
        assert text.isprintable() and len(text) <= 2048


def test_many_addresses_make_a_short_line_of_the_log(
    server: LoopbackDns, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    many = tuple(f"127.1.{number // 250}.{number % 250 + 1}" for number in range(600))
    resolver = CNAMEResolver(NAME, refresh_interval=0)
    for _ in range(2):
        server.reply(NAME, Addresses(many, over_tcp_only=True))
        assert len(resolver.refresh()) == len(resolver.addresses) == 600
        server.reply(NAME, Failure.SERVFAIL)
        assert len(resolver.refresh()) == 600
    lines = [one.getMessage() for one in caplog.records if NAME in one.getMessage()]
    assert [len(line) < 600 and "and 590 more" in line for line in lines] == [True] * 3
