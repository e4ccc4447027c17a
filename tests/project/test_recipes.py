"""The recipes of the documentation: what they guarantee, and what they do not."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flask_hazelcast_failover import ClusterChanged, FailoverConfig, HazelcastClient, HazelcastFailover
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.apps import client_of, make_app
from tests.support.clients import client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
NODE_BITS = 0xFFFF  # of a Flake id


@pytest.fixture(scope="module")
def recipes() -> dict[str, Callable[..., Any]]:
    """The functions of the page, by name."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def client(blue: LocalCluster, green: LocalCluster) -> Iterator[HazelcastClient]:
    with client_on(blue, green) as client:
        yield client


@pytest.fixture
def elsewhere(green: LocalCluster) -> Iterator[HazelcastClient]:
    """A client of the other cluster."""
    with client_on(green) as elsewhere:
        yield elsewhere


def stock_of(client: HazelcastClient) -> Any:
    return client.get_map("stock").blocking()


@pytest.fixture
def name() -> str:
    return uuid4().hex


def test_a_repeated_visit_counts_once(recipes: dict[str, Any], client: HazelcastClient, name: str) -> None:
    count = recipes["count_visit"]
    assert [count(client, name, visit) for visit in ("a", "b", "a")] == [1, 2, 2]
    client.switch_to("green")
    assert count(client, name, "a") == 1  # no shared data: what the other cluster holds


def test_a_visit_whose_answer_is_lost_counts_once(
    recipes: dict[str, Any], blue: LocalCluster, name: str
) -> None:
    with Relay(blue.addresses[0]) as relay:
        failover = FailoverConfig()
        failover.add_cluster("blue", [relay.address], smart_routing=False, known_members=False)
        with HazelcastClient(failover, health_check_interval=0) as client, ThreadPoolExecutor(1) as pool:
            recipes["count_visit"](client, name, "first")
            relay.delay(0.2)
            counting = pool.submit(recipes["count_visit"], client, name, "second")
            with client_on(blue) as watcher:
                visits: Any = watcher.get_map(f"visits-of-{name}").blocking()
                eventually(lambda: visits.contains_key("second"))
                relay.cut()
                relay.resume()
                assert counting.result(10) == 2


def test_clicks_are_exact_on_one_cluster(
    recipes: dict[str, Any], client: HazelcastClient, elsewhere: HazelcastClient, name: str
) -> None:
    """After a switch they go on from the number of the other cluster."""
    click = recipes["count_click"]
    with ThreadPoolExecutor(8) as pool:
        told = {future.result() for future in [pool.submit(click, client, name) for _ in range(40)]}
    assert told == set(range(1, 41))
    assert click(elsewhere, name) == 1
    client.switch_to("green")
    assert click(client, name) == 2


def test_a_lock_keeps_others_out_on_one_cluster(
    recipes: dict[str, Any], client: HazelcastClient, name: str
) -> None:
    inside, most = [0], [0]

    def work() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.01)
        inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(recipes["exclusively"], client, name, work) for _ in range(16)]:
            future.result()
    assert most == [1]


def test_a_switch_ends_a_locked_section_with_an_error(
    recipes: dict[str, Any], client: HazelcastClient, blue: LocalCluster, name: str
) -> None:
    """The lease releases its lock."""
    with pytest.raises(ClusterChanged):
        recipes["exclusively"](client, name, lambda: client.switch_to("green"), lease=1)
    with client_on(blue) as on_blue:
        locks: Any = on_blue.get_map("locks").blocking()
        eventually(lambda: not locks.is_locked(name), within=5.0)


def test_a_lock_can_be_held_twice_on_two_clusters(
    recipes: dict[str, Any], client: HazelcastClient, elsewhere: HazelcastClient, name: str
) -> None:
    exclusively = recipes["exclusively"]
    assert exclusively(client, name, lambda: exclusively(elsewhere, name, lambda: "both")) == "both"


def test_nothing_is_sold_twice(recipes: dict[str, Any], client: HazelcastClient, name: str) -> None:
    stock_of(client).set(name, 10)
    with ThreadPoolExecutor(8) as pool:
        sold = [
            future.result() for future in [pool.submit(recipes["sell"], client, name, 1) for _ in range(20)]
        ]
    assert sorted(sold) == [False] * 10 + [True] * 10
    assert stock_of(client).get(name) == 0


def test_two_clusters_without_shared_data_each_sell_their_stock(
    recipes: dict[str, Any], client: HazelcastClient, elsewhere: HazelcastClient, name: str
) -> None:
    for each in (client, elsewhere):
        stock_of(each).set(name, 1)
    assert recipes["sell"](client, name, 1)
    client.switch_to("green")
    assert recipes["sell"](client, name, 1)
    assert not recipes["sell"](elsewhere, name, 1)


def test_random_ids_need_no_cluster(recipes: dict[str, Any]) -> None:
    assert len({recipes["new_order_id"]() for _ in range(1000)}) == 1000


def test_flake_ids_of_two_clusters_may_collide(
    client: HazelcastClient, elsewhere: HazelcastClient, name: str
) -> None:
    nodes = {
        each.get_flake_id_generator(name).blocking().new_id() & NODE_BITS for each in (client, elsewhere)
    }
    assert len(nodes) == 1


def test_an_offset_of_node_ids_keeps_flake_ids_apart(
    client: HazelcastClient, start_cluster: Any, name: str
) -> None:
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    offset = int(re.findall(r"node-id-offset: (\d+)", block)[0])
    other = start_cluster("other", config={"flake-id-generator": {"orders": {"node-id-offset": offset}}})
    with client_on(other) as apart:
        ours, theirs = (
            each.get_flake_id_generator("orders").blocking().new_id() & NODE_BITS for each in (client, apart)
        )
    assert theirs == ours + offset


def test_prices_are_read_again_after_a_switch(
    recipes: dict[str, Any], blue: LocalCluster, green: LocalCluster, elsewhere: HazelcastClient, name: str
) -> None:
    ext, shown = HazelcastFailover(), []
    app = make_app(blue, green, ext=ext)
    there: Any = elsewhere.get_map("prices").blocking()
    there.set(f"{name}-before", 1)
    with client_of(app) as client:
        with app.app_context():
            recipes["follow_prices"](app, ext, lambda *price: shown.append(price))
        prices: Any = client.get_map("prices").blocking()
        prices.set(name, 5)
        eventually(lambda: (name, 5) in shown)
        client.switch_to("green")
        eventually(lambda: (f"{name}-before", 1) in shown)
        there.set(f"{name}-after", 2)
        eventually(lambda: (f"{name}-after", 2) in shown)


def test_messages_arrive_once_and_from_the_current_cluster_only(
    recipes: dict[str, Any],
    client: HazelcastClient,
    blue: LocalCluster,
    elsewhere: HazelcastClient,
    name: str,
) -> None:
    shown: list[str] = []
    recipes["receive"](client, shown.append)
    for message in ("one", "one", "two"):
        recipes["publish"](client, message, f"{name}-{message}")
    eventually(lambda: shown == ["one", "two"])
    client.switch_to("green")
    with client_on(blue) as left_behind:
        recipes["publish"](left_behind, "from the cluster left behind", f"{name}-lost")
    recipes["publish"](elsewhere, "three", f"{name}-three")
    eventually(lambda: shown == ["one", "two", "three"])
