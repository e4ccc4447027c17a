"""FailoverConfig: the order of the clusters, the current one, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import ClientConfig, ClusterConfig, FailoverConfig
from flask_hazelcast_failover.failover.view import ReadOnlyFailover
from tests.support.dns import Failure, LoopbackDns, default_resolver

NODE = ["node:5701"]
DNS_NAME = "hazelcast.internal.example.com"


def with_clusters(*labels: str) -> FailoverConfig:
    failover = FailoverConfig()
    for label in labels:
        failover.add_cluster(label, NODE)
    return failover


def order_of(failover: FailoverConfig) -> list[str]:
    return [cluster.label for cluster in failover.clusters]


def named(name: str, *members: str) -> ClientConfig:
    config = ClientConfig()
    config.cluster_name = name
    config.cluster_members = list(members)
    return config


class TestOrder:
    def test_clusters_are_ordered_by_priority(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("last", NODE, priority=7)
        failover.add_cluster("first", NODE, priority=0)
        failover.add_cname_cluster("middle", DNS_NAME, priority=3)
        assert order_of(failover) == ["first", "middle", "last"]

    def test_equal_priorities_keep_the_order_of_adding(self) -> None:
        failover = FailoverConfig()
        for label in ("c", "a", "b"):
            failover.add_cluster(label, NODE, priority=1)
        assert order_of(failover) == ["c", "a", "b"]

    def test_no_priority_means_after_the_last_one_at_that_time(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, priority=5)
        failover.add_cluster("b", NODE)
        failover.add_cluster("c", NODE, priority=6)
        failover.add_cluster("d", NODE, priority=9)
        assert order_of(failover) == ["a", "b", "c", "d"]
        assert [cluster.priority for cluster in failover.clusters] == [5, 6, 6, 9]

    def test_the_first_cluster_added_without_priority_has_the_highest(self) -> None:
        assert with_clusters("a").clusters[0].priority == 0

    def test_arguments_may_be_given_by_position(self) -> None:
        failover = FailoverConfig(2)
        failover.add_cname_cluster("b", DNS_NAME, 5702, 1, 30.0)
        failover.add_cluster("a", NODE, 0)
        assert order_of(failover) == ["a", "b"]
        assert failover.try_count == 2
        source = failover.clusters[1].dns
        assert source is not None
        assert (source.dns_name, source.port, source.refresh_interval) == (DNS_NAME, 5702, 30.0)


class TestCurrentCluster:
    def test_stepping_goes_through_the_order_and_ends_past_the_last(self) -> None:
        failover = with_clusters("a", "b")
        assert failover.current_cluster_index == 0
        assert failover.get_current_cluster().cluster_name == "a"
        second = failover.switch_to_next_cluster()
        assert second is not None
        assert second.cluster_name == "b"
        assert failover.current_cluster_index == 1
        for _ in range(3):
            assert failover.switch_to_next_cluster() is None
            assert failover.current_cluster_index == failover.cluster_count == 2

    def test_past_the_last_there_is_no_current_cluster(self) -> None:
        failover = with_clusters("a")
        failover.switch_to_next_cluster()
        with pytest.raises(ClientOfflineException, match=r"a.*reset\(\)"):
            failover.get_current_cluster()

    def test_reset_goes_back_to_the_highest_priority(self) -> None:
        failover = with_clusters("a", "b")
        failover.switch_to_next_cluster()
        failover.switch_to_next_cluster()
        failover.reset()
        assert failover.current_cluster_index == 0
        assert failover.get_current_cluster().label == "a"

    def test_without_clusters_there_is_none(self) -> None:
        failover = FailoverConfig()
        assert failover.cluster_count == failover.current_cluster_index == 0
        assert failover.switch_to_next_cluster() is None
        with pytest.raises(ClientOfflineException, match="add_cluster"):
            failover.get_current_cluster()

    def test_before_the_first_switch_a_cluster_added_in_front_becomes_current(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("b", NODE, priority=1)
        failover.add_cluster("a", NODE, priority=0)
        assert failover.get_current_cluster().label == "a"

    def test_after_a_switch_a_cluster_added_in_front_leaves_the_current_one_current(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("b", NODE, priority=1)
        failover.add_cluster("c", NODE, priority=2)
        failover.switch_to_next_cluster()
        failover.add_cluster("a", NODE, priority=0)
        assert failover.get_current_cluster().label == "c"
        failover.add_cluster("d", NODE)
        assert failover.get_current_cluster().label == "c"

    def test_threads_that_step_together_each_get_a_cluster_of_their_own(self) -> None:
        failover = with_clusters(*(f"c{index}" for index in range(1, 201)))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: failover.switch_to_next_cluster(), range(250)))
        labels = [cluster.label for cluster in found if cluster is not None]
        assert len(labels) == len(set(labels)) == 199
        assert failover.current_cluster_index == 200

    def test_threads_that_add_together_lose_no_cluster(self) -> None:
        failover = FailoverConfig()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda index: failover.add_cluster(f"c{index}", NODE), range(100)))
        assert failover.cluster_count == 100
        assert [cluster.priority for cluster in failover.clusters] == list(range(100))


class TestLabels:
    def test_a_cluster_is_called_by_its_name_or_its_label(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("prod", NODE)
        failover.add_cluster("prod", NODE, label="prod-eu")
        assert order_of(failover) == ["prod", "prod-eu"]
        assert [cluster.cluster_name for cluster in failover.clusters] == ["prod", "prod"]

    def test_a_label_twice_is_refused_with_what_to_do(self) -> None:
        failover = with_clusters("prod")
        adds: list[Callable[[], None]] = [
            lambda: failover.add_cluster("prod", NODE),
            lambda: failover.add_cname_cluster("prod", DNS_NAME),
            lambda: failover.add_cluster("other", NODE, label="prod"),
        ]
        for add in adds:
            with pytest.raises(ValueError, match=r"'prod'.*label="):
                add()
        assert failover.cluster_count == 1


class TestFromConfigs:
    def test_the_order_given_is_the_order_of_priority(self) -> None:
        failover = FailoverConfig.from_configs([named("east", "east:5701"), named("west", "west:5701")])
        assert order_of(failover) == ["east", "west"]
        assert [cluster.addresses for cluster in failover.clusters] == [("east:5701",), ("west:5701",)]
        assert failover.try_count == 3

    def test_clusters_of_one_name_get_labels_with_numbers(self) -> None:
        failover = FailoverConfig.from_configs([named("prod", f"{host}:1") for host in ("a", "b", "c")])
        assert order_of(failover) == ["prod", "prod-2", "prod-3"]

    def test_its_try_count_wins_over_that_of_each_config(self) -> None:
        config = named("east")
        config.try_count = 9
        assert FailoverConfig.from_configs([config], try_count=2).to_client_config(0).try_count == 2
        assert FailoverConfig.from_configs([config]).try_count == 3
        assert FailoverConfig.from_client_config(config).try_count == 9

    def test_later_changes_of_a_config_change_nothing(self) -> None:
        config = named("east", "east:5701")
        failover = FailoverConfig.from_configs([config])
        config.cluster_members.append("other:5701")
        config.labels.append("late")
        made = failover.to_client_config(0)
        assert made.cluster_members == ["east:5701"]
        assert made.labels == []

    @pytest.mark.parametrize(
        ("configs", "error"),
        [
            ([], ValueError),
            (ClientConfig(), TypeError),
            ("east", TypeError),
            ([{}], TypeError),
            ({}, TypeError),
        ],
    )
    def test_anything_but_a_list_of_configs_is_refused(self, configs: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="ClientConfig"):
            FailoverConfig.from_configs(configs)


class TestToClientConfig:
    def test_it_has_all_that_the_cluster_was_given(self) -> None:
        failover = FailoverConfig(try_count=5)
        failover.add_cluster("a", NODE, creds_username="shop", near_caches={"m": {"time_to_live": 3}})
        config = failover.to_client_config(0)
        assert isinstance(config, ClientConfig)
        assert (config.cluster_name, config.cluster_members, config.try_count) == ("a", NODE, 5)
        assert config.creds_username == "shop"
        assert config.near_caches["m"].time_to_live == 3

    def test_each_one_is_new(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, labels=["web"], near_caches={"m": {"time_to_live": 3}})
        first = failover.to_client_config(0)
        first.labels.append("x")
        first.near_caches["m"].time_to_live = 99
        first.cluster_members.clear()
        second = failover.to_client_config(0)
        assert second.labels == ["web"]
        assert second.near_caches["m"].time_to_live == 3
        assert second.cluster_members == NODE

    def test_what_the_caller_changes_later_changes_nothing(self) -> None:
        labels = ["web"]
        addresses = list(NODE)
        failover = FailoverConfig()
        failover.add_cluster("a", addresses, labels=labels)
        labels.append("x")
        addresses.clear()
        assert failover.to_client_config(0).labels == ["web"]
        assert failover.to_client_config(0).cluster_members == NODE

    @pytest.mark.parametrize("index", [-1, 2, 99])
    def test_an_index_out_of_range_is_refused_with_the_range(self, index: int) -> None:
        with pytest.raises(ValueError, match=f"from 0 to 1, got {index}"):
            with_clusters("a", "b").to_client_config(index)

    @pytest.mark.parametrize("index", ["0", None, 0.0, True])
    def test_an_index_of_the_wrong_type_is_refused(self, index: Any) -> None:
        with pytest.raises(TypeError, match="index must be an int"):
            with_clusters("a", "b").to_client_config(index)

    def test_without_clusters_every_index_is_refused(self) -> None:
        with pytest.raises(ValueError, match="none was added"):
            FailoverConfig().to_client_config(0)


class TestDnsClusters:
    def test_adding_one_asks_no_dns(self) -> None:
        with LoopbackDns() as server, default_resolver(server):
            FailoverConfig().add_cname_cluster("a", DNS_NAME)
            assert server.queries(DNS_NAME) == 0

    def test_its_client_config_has_the_addresses_of_the_name(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME, port=5702)
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2", "127.0.0.3", through=("eu.example.com",))
            assert failover.to_client_config(0).cluster_members == ["127.0.0.2:5702", "127.0.0.3:5702"]

    def test_a_name_without_addresses_is_an_error_that_names_it(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME)
        expected = pytest.raises(ClientOfflineException, match=DNS_NAME)
        with LoopbackDns() as server, default_resolver(server), expected:
            failover.to_client_config(0)

    def test_once_known_the_addresses_outlive_a_failure_of_dns(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME, refresh_interval=0)
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2")
            failover.to_client_config(0)
            server.reply(DNS_NAME, Failure.SERVFAIL)
            assert failover.to_client_config(0).cluster_members == ["127.0.0.2:5701"]

    def test_a_client_made_from_its_config_goes_on_asking_dns(self) -> None:
        failover = FailoverConfig(try_count=4)
        failover.add_cluster("first", NODE)
        failover.add_cname_cluster("a", DNS_NAME, refresh_interval=5, label="eu", client_name="shop")
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2")
            config = failover.to_client_config(1)
        for same in (config, config.copy(), pickle.loads(pickle.dumps(config))):
            taken = FailoverConfig.from_client_config(same)
            (cluster,) = taken.clusters
            assert cluster.dns == failover.clusters[1].dns
            assert (cluster.label, cluster.cluster_name, taken.try_count) == ("eu", "a", 4)
            assert cluster.client_options["client_name"] == "shop"

    def test_members_changed_by_the_caller_are_used_as_they_are(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME)
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2")
            config = failover.to_client_config(0)
        config.cluster_members.append("127.0.0.9:5701")
        (cluster,) = FailoverConfig.from_client_config(config).clusters
        assert not cluster.is_dns
        assert cluster.addresses == ("127.0.0.2:5701", "127.0.0.9:5701")

    def test_a_cluster_makes_resolvers_of_its_own_name_only(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME, port=5702, refresh_interval=5)
        failover.add_cluster("b", NODE)
        resolver = failover.clusters[0].new_resolver()
        assert (resolver.dns_name, resolver.port, resolver.refresh_interval) == (DNS_NAME, 5702, 5)
        with pytest.raises(ValueError, match=r"'b'.*fixed addresses"):
            failover.clusters[1].new_resolver()


class TestAddresses:
    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            (["a:5701", "b:1", "c:65535"], ("a:5701", "b:1", "c:65535")),
            (("10.0.0.1:5701",), ("10.0.0.1:5701",)),
            (["a"], ("a:5701", "a:5702", "a:5703")),
            (["a:5702", "a"], ("a:5702", "a:5701", "a:5703")),
            (["a:5701", "a:5701"], ("a:5701",)),
            (["my_node.ns.svc.cluster.local:5701"], ("my_node.ns.svc.cluster.local:5701",)),
        ],
    )
    def test_each_address_counts_once_in_the_order_given(self, given: Any, meant: tuple[str, ...]) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", given)
        assert failover.clusters[0].addresses == meant
        assert failover.to_client_config(0).cluster_members == list(meant)

    @pytest.mark.parametrize(
        ("given", "error", "said"),
        [
            ("a:5701", TypeError, "addresses must be a list"),
            (None, TypeError, "addresses must be a list"),
            (5701, TypeError, "addresses must be a list"),
            ([5701], TypeError, r"addresses\[0\]"),
            ([], ValueError, "at least one"),
            (["a:5701", ""], ValueError, r"addresses\[1\]"),
            (["a:"], ValueError, "port from 1 to 65535"),
            (["a:0"], ValueError, "port from 1 to 65535"),
            (["a:65536"], ValueError, "port from 1 to 65535"),
            (["a:-1"], ValueError, "port from 1 to 65535"),
            (["a:0099999"], ValueError, "port from 1 to 65535"),
            (["a:x"], ValueError, "port from 1 to 65535"),
            (["a:\u0665\u0667"], ValueError, "port from 1 to 65535"),
            ([":5701"], ValueError, r"addresses\[0\]"),
            (["a b:5701"], ValueError, r"addresses\[0\]"),
            (["a:5701,b:5701"], ValueError, r"addresses\[0\]"),
            (["http://a:5701"], ValueError, "not a URL"),
            (["::1"], ValueError, "IPv6 is not supported"),
            (["[::1]:5701"], ValueError, "IPv6 is not supported"),
        ],
    )
    def test_a_bad_address_is_refused_by_place(self, given: Any, error: type[Exception], said: str) -> None:
        with pytest.raises(error, match=said):
            FailoverConfig().add_cluster("a", given)

    def test_a_password_in_an_address_is_not_shown(self) -> None:
        with pytest.raises(ValueError, match="not a URL") as caught:
            FailoverConfig().add_cluster("a", ["shop:hunter2@node:5701"])
        assert "hunter2" not in str(caught.value)
        with pytest.raises(TypeError, match="list of ClientConfig") as refused:
            FailoverConfig.from_configs("hazelcast://shop:hunter2@node:5701")  # type: ignore[arg-type]
        assert "hunter2" not in str(refused.value)


HUGE = 10**5000
"""A number that is no float, and that Python refuses to write."""


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "error", "said"),
        [
            ({"cluster_name": ""}, ValueError, "cluster_name"),
            ({"cluster_name": "  "}, ValueError, "cluster_name"),
            ({"cluster_name": None}, TypeError, "cluster_name"),
            ({"label": ""}, ValueError, "label"),
            ({"label": 5}, TypeError, "label"),
            ({"priority": -1}, ValueError, "priority"),
            ({"priority": "0"}, TypeError, "priority"),
            ({"priority": 1.0}, TypeError, "priority"),
            ({"priority": True}, TypeError, "priority"),
            ({"prioritty": 1}, ValueError, "did you mean 'priority'"),
            ({"ssl_enable": True}, ValueError, "'a'.*did you mean 'ssl_enabled'"),
            ({"ssl_enabled": "yes"}, TypeError, "'a'.*ssl_enabled"),
            ({"heartbeat_interval": 0}, ValueError, "'a'.*heartbeat_interval"),
            ({"redo_operation": True}, ValueError, "redo_operation is decided by this client: use repeat"),
            ({"async_start": False}, ValueError, "async_start is decided by this client"),
            ({"cluster_members": NODE}, ValueError, "cluster_members.*addresses="),
            ({"cloud_discovery_token": "x"}, ValueError, "cloud_discovery_token"),
            ({"try_count": 5}, ValueError, r"FailoverConfig\(try_count=...\)"),
        ],
    )
    def test_a_bad_argument_is_refused_by_name_and_adds_nothing(
        self, arguments: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        failover = FailoverConfig()
        with pytest.raises(error, match=said):
            failover.add_cluster(**{"cluster_name": "a", "addresses": NODE, **arguments})
        with pytest.raises(error, match=said):
            failover.add_cname_cluster(**{"cluster_name": "a", "dns_name": DNS_NAME, **arguments})
        assert failover.cluster_count == 0

    @pytest.mark.parametrize(
        ("arguments", "error", "said"),
        [
            ({"dns_name": ""}, ValueError, "dns_name"),
            ({"dns_name": 5}, TypeError, "dns_name"),
            ({"dns_name": "a..b"}, ValueError, "dns_name"),
            ({"port": 0}, ValueError, "port"),
            ({"port": 65536}, ValueError, "port"),
            ({"port": "5701"}, TypeError, "port"),
            ({"refresh_interval": -0.1}, ValueError, "refresh_interval"),
            ({"refresh_interval": float("inf")}, ValueError, "refresh_interval"),
            ({"refresh_interval": "60"}, TypeError, "refresh_interval"),
            ({"refresh_interval": HUGE}, ValueError, "refresh_interval"),
            ({"refresh_interval": -HUGE}, ValueError, "refresh_interval"),
            ({"port": HUGE}, ValueError, "port"),
            ({"dns_name": HUGE}, TypeError, "dns_name"),
            ({"priority": -HUGE}, ValueError, "priority"),
            ({"label": HUGE}, TypeError, "label"),
        ],
    )
    def test_a_bad_dns_argument_is_refused_by_name(
        self, arguments: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            FailoverConfig().add_cname_cluster(**{"cluster_name": "a", "dns_name": DNS_NAME, **arguments})

    @pytest.mark.parametrize(
        ("value", "error"),
        [(0, ValueError), (-3, ValueError), ("3", TypeError), (1.5, TypeError), (True, TypeError)],
    )
    def test_a_bad_try_count_is_refused(self, value: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="try_count"):
            FailoverConfig(try_count=value)
        with pytest.raises(error, match="try_count"):
            FailoverConfig.from_configs([ClientConfig()], try_count=value)

    def test_none_as_a_client_option_is_passed_over(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, creds_password=None, redo_operation=None)
        assert dict(failover.clusters[0].client_options) == {}

    def test_no_repr_and_no_error_shows_a_secret(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, creds_password="hunter2")
        assert "hunter2" not in repr(failover) + repr(failover.clusters) + repr(failover.to_client_config(0))
        with pytest.raises(TypeError) as caught:
            failover.add_cluster("b", NODE, creds_password=["hunter2"])
        assert "hunter2" not in str(caught.value)


COPIES: dict[str, Callable[[FailoverConfig], FailoverConfig]] = {
    "its own copy": FailoverConfig.copy,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda failover: pickle.loads(pickle.dumps(failover)),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_has_the_same_clusters_and_a_state_of_its_own(
    duplicate: Callable[[FailoverConfig], FailoverConfig],
) -> None:
    failover = FailoverConfig(try_count=4)
    failover.add_cluster("a", NODE, creds_password="hunter2")
    failover.add_cname_cluster("b", DNS_NAME)
    failover.switch_to_next_cluster()
    other = duplicate(failover)
    assert (other.clusters, other.current_cluster_index, other.try_count) == (failover.clusters, 1, 4)
    other.reset()
    other.add_cluster("c", NODE)
    assert failover.current_cluster_index == 1
    assert order_of(failover) == ["a", "b"]


class TestClusterConfig:
    def test_it_never_changes(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, labels=["web"])
        (cluster,) = failover.clusters
        with pytest.raises(AttributeError):
            cluster.label = "b"  # type: ignore[misc]
        with pytest.raises(TypeError):
            cluster.client_options["labels"] = []  # type: ignore[index]

    def test_equal_clusters_are_equal_and_have_one_hash(self) -> None:
        first, second = (
            ClusterConfig("a", "a", ("n:1",), client_options={"labels": ["web"]}) for _ in range(2)
        )
        assert first == second
        assert hash(first) == hash(second)
        assert first != ClusterConfig("a", "a", ("n:1",))

    def test_its_own_options_win_over_common_ones(self) -> None:
        cluster = ClusterConfig("a", "a", ("n:1",), client_options={"heartbeat_interval": 2})
        config = cluster.build_config({"heartbeat_interval": 9, "labels": ["web"]}, ["m:2"])
        assert (config.heartbeat_interval, config.labels, config.cluster_members) == (2, ["web"], ["m:2"])


class TestReadOnlyView:
    @pytest.fixture
    def failover(self) -> FailoverConfig:
        return with_clusters("a", "b")

    def test_it_shows_where_the_client_is(self, failover: FailoverConfig) -> None:
        index = 0
        view = ReadOnlyFailover(failover, lambda: index)
        assert view.get_current_cluster().label == "a"
        index = 1
        assert view.get_current_cluster().label == "b"
        assert (view.current_cluster_index, view.cluster_count, view.try_count) == (1, 2, 3)
        assert view.to_client_config(0).cluster_name == "a"
        assert "b" in repr(view)

    @pytest.mark.parametrize(
        "change",
        [
            lambda view: view.reset(),
            lambda view: view.switch_to_next_cluster(),
            lambda view: view.add_cluster("c", NODE),
            lambda view: view.add_cname_cluster("c", dns_name=DNS_NAME),
        ],
        ids=["reset", "switch_to_next_cluster", "add_cluster", "add_cname_cluster"],
    )
    def test_what_would_change_it_is_refused_and_names_what_to_use(
        self, failover: FailoverConfig, change: Callable[[ReadOnlyFailover], None]
    ) -> None:
        with pytest.raises(TypeError, match=r"client\.reset\(\)"):
            change(ReadOnlyFailover(failover, lambda: 0))

    def test_its_copy_can_be_changed(self, failover: FailoverConfig) -> None:
        failover.switch_to_next_cluster()
        other = ReadOnlyFailover(failover, lambda: 1).copy()
        assert type(other) is FailoverConfig
        assert other.current_cluster_index == 0
        other.add_cluster("c", NODE)
        assert failover.cluster_count == 2
