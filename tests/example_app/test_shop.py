"""The shop on real clusters: it sells no piece twice, stays open when its cluster dies, and reports what is known."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hazelcast.proxy.map import BlockingMap
from werkzeug.test import TestResponse

from example_app import catalogue, create_app
from example_app.extensions import ext
from example_app.goods import GOODS
from flask_hazelcast_failover import ClientConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import absent, client_of, url_of
from tests.support.waiting import eventually


@contextmanager
def opened(*clusters: LocalCluster | str, **settings: Any) -> Iterator[Flask]:
    """Give the shop on these clusters; `settings` are HAZELCAST_FAILOVER_* keys without their prefix."""
    urls = [cluster if isinstance(cluster, str) else url_of(cluster) for cluster in clusters]
    keys = {f"HAZELCAST_FAILOVER_{name}": value for name, value in ({"CLUSTERS": urls} | settings).items()}
    shop = create_app({"SECRET_KEY": "for tests", "TESTING": True, **keys})
    with client_of(shop):
        yield shop


@pytest.fixture(scope="module")
def shop(shared_clusters: tuple[LocalCluster, LocalCluster]) -> Iterator[Flask]:
    """The shop on the two clusters that all tests share."""
    with opened(*shared_clusters) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_data(request: pytest.FixtureRequest) -> None:
    """Delete the data of tests before, for tests that share the shop."""
    if "shop" in request.fixturenames:
        for name in ("shop-products", "shop-stock", "shop-carts"):
            with request.getfixturevalue("shop").app_context():
                ext.client.get_map(name).blocking().clear()


def send(visitor: FlaskClient, path: str, **fields: object) -> TestResponse:
    """Send a form as the pages of the shop would, and follow redirects."""
    with visitor.session_transaction() as session:
        token = session.setdefault("form_token", "of this visit")
    return visitor.post(path, data=fields | {"form_token": token}, follow_redirects=True)


def stocks() -> BlockingMap[str, int]:
    return ext.client.get_map("shop-stock").blocking()


def stock(shop: Flask, product: str) -> int | None:
    with shop.app_context():
        return stocks().get(product)


def fill(shop: Flask, product: str, pieces: int) -> None:
    with shop.app_context():
        stocks().set(product, pieces)


def outcomes(page: TestResponse) -> list[str]:
    return re.findall(r'data-outcome="([\w-]+)"', page.text)


def served_by(page: TestResponse) -> str:
    found = re.search(r'data-cluster="(\w*)"', page.text)
    assert found, page.text
    return found[1]


def test_the_front_page_stores_missing_products_and_names_the_cluster(shop: Flask) -> None:
    page = shop.test_client().get("/")
    assert page.status_code == 200 and served_by(page) == "blue"
    for product, pieces in GOODS.values():
        assert product.name in page.text
        assert stock(shop, product.id) == pieces


def test_stored_stock_is_not_overwritten(shop: Flask) -> None:
    fill(shop, "cup", 3)
    assert "3 left" in shop.test_client().get("/").text
    assert stock(shop, "cup") == 3


def test_the_slower_of_two_processes_does_not_overwrite_stock(shop: Flask) -> None:
    fill(shop, "cup", 3)  # stored, and partly sold, after the slower one had read
    with shop.app_context():
        assert catalogue._store_stock("cup") == 3
    assert stock(shop, "cup") == 3


def test_buying_takes_the_cart_out_of_stock_and_empties_it(shop: Flask) -> None:
    visitor = shop.test_client()
    send(visitor, "/cart", product="sencha", by=2)
    assert "in your cart" in send(visitor, "/cart", product="kettle", by=1).text
    receipt = send(visitor, "/buy")
    assert outcomes(receipt) == ["bought", "bought"]
    assert (stock(shop, "sencha"), stock(shop, "kettle")) == (88, 11)
    assert "nothing in it yet" in visitor.get("/cart").text


def test_each_visitor_has_a_cart_of_their_own(shop: Flask) -> None:
    one, other = shop.test_client(), shop.test_client()
    send(one, "/cart", product="sencha", by=2)
    assert "Sencha" in one.get("/cart").text
    assert "Sencha" not in other.get("/cart").text


def test_pieces_can_be_removed_from_the_cart(shop: Flask) -> None:
    visitor = shop.test_client()
    send(visitor, "/cart", product="sencha", by=1)
    assert "nothing in it yet" in send(visitor, "/cart", product="sencha", by=-1, from_cart="yes").text


def test_pressing_buy_twice_buys_once(shop: Flask) -> None:
    visitor = shop.test_client()
    send(visitor, "/cart", product="cup", by=1)
    send(visitor, "/buy")
    assert outcomes(send(visitor, "/buy")) == []
    assert stock(shop, "cup") == 39


def test_concurrent_visitors_never_buy_more_than_the_stock(shop: Flask) -> None:
    fill(shop, "cup", 10)

    def shopping(_: int) -> list[str]:
        visitor, got = shop.test_client(), []
        for _ in range(4):
            send(visitor, "/cart", product="cup", by=1)
            got += outcomes(send(visitor, "/buy"))
        return got

    with ThreadPoolExecutor(6) as visitors:
        got = [outcome for one in visitors.map(shopping, range(6)) for outcome in one]
    assert got.count("bought") == 10 and stock(shop, "cup") == 0
    assert set(got) == {"bought", "sold-out"}


def test_sold_out_products_stay_in_the_cart(shop: Flask) -> None:
    fill(shop, "kettle", 1)
    visitor = shop.test_client()
    send(visitor, "/cart", product="kettle", by=2)
    assert outcomes(send(visitor, "/buy")) == ["sold-out"]
    assert stock(shop, "kettle") == 1
    assert "Gooseneck kettle" in visitor.get("/cart").text


def test_a_purchase_with_an_unknown_outcome_is_shown_as_unknown(
    blue: LocalCluster,
) -> None:
    """It is not put back into the cart."""
    members = {"cluster_name": blue.name, "cluster_members": blue.addresses}
    with (
        opened(blue, OPERATION_TIMEOUT=0.5) as slow_shop,
        HazelcastClient(ClientConfig.from_dict(members)) as stocktaker,
    ):
        fill(slow_shop, "cup", 5)
        visitor = slow_shop.test_client()
        send(visitor, "/cart", product="cup", by=1)
        counting: BlockingMap[str, int] = stocktaker.get_map("shop-stock").blocking()
        counting.lock("cup")  # reads are answered; writes wait on the member
        try:
            receipt = send(visitor, "/buy")
        finally:
            counting.unlock("cup")
        assert receipt.status_code == 200 and outcomes(receipt) == ["unknown"]
        assert "may or may not have gone through" in receipt.text
        assert "nothing in it yet" in visitor.get("/cart").text


def test_a_purchase_across_a_switch_is_not_made(shop: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The products stay in the cart."""
    visitor = shop.test_client()
    send(visitor, "/cart", product="cup", by=1)
    with shop.app_context():
        stocks().delete("cup")

    def switch_meanwhile(name: str) -> int:
        ext.client.switch_to("green")
        return 40

    monkeypatch.setattr(catalogue, "_store_stock", switch_meanwhile)
    try:
        receipt = send(visitor, "/buy")
        monkeypatch.undo()
        assert outcomes(receipt) == ["not-bought"]
        assert "Stoneware cup" in visitor.get("/cart").text
        assert served_by(visitor.get("/")) == "green"
        assert stock(shop, "cup") == 40
    finally:
        with shop.app_context():
            ext.client.reset()


def test_metrics_show_the_current_cluster(shop: Flask) -> None:
    shop.test_client().get("/")
    up = 'hazelcast_failover_cluster_up{app="example_app",cluster="blue"} 1.0'
    eventually(lambda: up in shop.test_client().get("/metrics").get_data(as_text=True))


@pytest.mark.parametrize("path", ["/cart", "/buy"])
def test_a_form_without_its_token_is_refused(shop: Flask, path: str) -> None:
    visitor = shop.test_client()
    send(visitor, "/cart", product="cup", by=1)
    for token in ({}, {"form_token": ""}, {"form_token": "guessed"}):
        assert visitor.post(path, data={"product": "cup", "by": 1, **token}).status_code == 400
    assert shop.test_client().post(path, data={"form_token": ""}).status_code == 400
    assert stock(shop, "cup") in (None, 40)


@pytest.mark.parametrize(
    "fields", [{"product": "gold", "by": 1}, {"product": "cup", "by": 1000}, {"product": "cup"}, {}]
)
def test_a_form_with_bad_fields_is_refused(shop: Flask, fields: dict[str, object]) -> None:
    assert send(shop.test_client(), "/cart", **fields).status_code == 400


def test_the_pages_load_nothing_from_other_hosts(shop: Flask) -> None:
    visitor = shop.test_client()
    page = visitor.get("/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"""(src|href)=["'](https?:)?//|<style|style=|<script>""", page.text)
    for asset in sorted(set(re.findall(r'(?:src|href)="(/static/[^"#]+)', page.text))):
        with visitor.get(asset) as answer:
            assert answer.status_code == 200


def test_an_unknown_page_has_the_shops_frame(shop: Flask) -> None:
    page = shop.test_client().get("/coffee")
    assert page.status_code == 404 and "Two Kettles" in page.text


def test_without_a_control_channel_there_are_no_kill_buttons(shop: Flask) -> None:
    assert "Kill" not in shop.test_client().get("/").text
    assert send(shop.test_client(), "/demo/kill/blue").status_code == 404


def test_the_shop_needs_a_secret_key() -> None:
    with pytest.raises(RuntimeError, match="FLASK_SECRET_KEY"):
        create_app({"HAZELCAST_FAILOVER_CLUSTERS": [absent("blue")]})


def test_the_shop_through_kills_of_both_clusters(
    pair: tuple[LocalCluster, LocalCluster], caplog: pytest.LogCaptureFixture
) -> None:
    """It moves, closes when no cluster is left, opens by itself, and logs an alert for each."""
    blue, green = pair
    with opened(blue, green) as shop:
        visitor, other = shop.test_client(), shop.test_client()
        send(visitor, "/cart", product="sencha", by=2)
        send(other, "/cart", product="sencha", by=2)
        blue.kill()
        page = visitor.get("/cart")
        assert page.status_code == 200 and served_by(page) == "green"
        assert "Your cart stayed on blue: the shop moved to green" in page.text
        assert all(product.name in visitor.get("/").text for product, _ in GOODS.values())
        assert outcomes(send(other, "/buy")) == [] and "stayed on blue" in other.get("/cart").text
        send(visitor, "/cart", product="cup", by=1)
        assert "stayed on blue" not in visitor.get("/cart").text
        assert outcomes(send(visitor, "/buy")) == ["bought"]
        send(visitor, "/cart", product="cup", by=1)

        green.kill()
        eventually(lambda: visitor.get("/").status_code == 503)
        closed = visitor.get("/")
        assert closed.headers["Retry-After"] == "2" and "Both kettles are off" in closed.text
        assert visitor.get("/receipt").status_code == 200
        assert send(visitor, "/buy").status_code == 503

        green.restart()
        eventually(lambda: visitor.get("/").status_code == 200)
        assert "green no longer has your cart" in visitor.get("/cart").text

        blue.restart()
        eventually(lambda: "The primary cluster blue is up again" in caplog.text)
        assert served_by(visitor.get("/")) == "green"
        with shop.app_context():
            ext.client.reset()
        assert served_by(visitor.get("/")) == "blue"
        send(other, "/cart", product="cup", by=1)
        assert "Stoneware cup" in other.get("/cart").text
        eventually(lambda: "ALERT over: the shop is back on its primary cluster blue" in caplog.text)
    alerts = [record.getMessage() for record in caplog.records if record.name == "example_app"]
    assert "ALERT: the shop moved from blue to green (connection-lost" in alerts[0]
    assert "POST /hazelcast/reset" in alerts[0]
    assert "ALERT: the shop is closed, no cluster can be reached" in alerts[1] and "refused" in alerts[1]
    assert len(alerts) == 4
