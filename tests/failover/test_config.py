"""FailoverConfig: the order of the clusters, the current one, copies and views."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_hazelcast_failover.client._api.failover_view import ReadOnlyFailover
from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import ClientConfig, ClusterConfig, FailoverConfig
from flask_hazelcast_failover.failover.client_config import build_config
from tests.support.addresses import DNS_NAME, NODE


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

    def test_without_priority_a_cluster_comes_last(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("a", NODE, priority=5)
        failover.add_cluster("b", NODE)
        failover.add_cluster("c", NODE, priority=6)
        failover.add_cluster("d", NODE, priority=9)
        assert order_of(failover) == ["a", "b", "c", "d"]
        assert [cluster.priority for cluster in failover.clusters] == [5, 6, 6, 9]

    def test_the_first_cluster_without_priority_has_the_highest(self) -> None:
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
    def test_stepping_ends_past_the_last_cluster(self) -> None:
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

    def test_a_cluster_added_in_front_becomes_current(self) -> None:
        """Before the first switch."""
        failover = FailoverConfig()
        failover.add_cluster("b", NODE, priority=1)
        failover.add_cluster("a", NODE, priority=0)
        assert failover.get_current_cluster().label == "a"

    def test_after_a_switch_the_current_cluster_is_kept(self) -> None:
        """A cluster is added in front of it."""
        failover = FailoverConfig()
        failover.add_cluster("b", NODE, priority=1)
        failover.add_cluster("c", NODE, priority=2)
        failover.switch_to_next_cluster()
        failover.add_cluster("a", NODE, priority=0)
        assert failover.get_current_cluster().label == "c"
        failover.add_cluster("d", NODE)
        assert failover.get_current_cluster().label == "c"

    def test_concurrent_steps_get_different_clusters(self) -> None:
        failover = with_clusters(*(f"c{index}" for index in range(1, 201)))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: failover.switch_to_next_cluster(), range(250)))
        labels = [cluster.label for cluster in found if cluster is not None]
        assert len(labels) == len(set(labels)) == 199
        assert failover.current_cluster_index == 200

    def test_concurrent_additions_lose_no_cluster(self) -> None:
        failover = FailoverConfig()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda index: failover.add_cluster(f"c{index}", NODE), range(100)))
        assert failover.cluster_count == 100
        assert [cluster.priority for cluster in failover.clusters] == list(range(100))


class TestLabels:
    @pytest.mark.parametrize("label", ["x" * 257, "a\nb", "\ud800", "\x1b[31m", "\u202e"])
    def test_a_label_is_printable_and_of_256_characters_at_most(self, label: str) -> None:
        for name, given in ((label, None), ("a", label)):
            with pytest.raises(ValueError, match="label must be at most 256 characters"):
                FailoverConfig().add_cluster(name, NODE, label=given)
        FailoverConfig().add_cluster("a" * 256, NODE)

    def test_a_cluster_is_called_by_its_name_or_its_label(self) -> None:
        failover = FailoverConfig()
        failover.add_cluster("prod", NODE)
        failover.add_cluster("prod", NODE, label="prod-eu")
        assert order_of(failover) == ["prod", "prod-eu"]
        assert [cluster.cluster_name for cluster in failover.clusters] == ["prod", "prod"]

    def test_a_duplicate_label_is_refused_with_advice(self) -> None:
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

    def test_its_try_count_overrides_that_of_each_config(self) -> None:
        config = named("east")
        config.try_count = 9
        assert FailoverConfig.from_configs([config], try_count=2).to_client_config(0).try_count == 2
        assert FailoverConfig.from_configs([config]).try_count == 3
        assert FailoverConfig.from_client_config(config).try_count == 9

    def test_later_changes_of_a_config_have_no_effect(self) -> None:
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
    def test_it_has_all_options_of_the_cluster(self) -> None:
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

    def test_later_changes_by_the_caller_have_no_effect(self) -> None:
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


COPIES: dict[str, Callable[[FailoverConfig], FailoverConfig]] = {
    "its own copy": FailoverConfig.copy,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda failover: pickle.loads(pickle.dumps(failover)),
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_copy_is_independent(
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
    def test_it_is_immutable(self) -> None:
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

    def test_its_own_options_override_common_ones(self) -> None:
        cluster = ClusterConfig("a", "a", ("n:1",), client_options={"heartbeat_interval": 2})
        config = build_config(cluster, {"heartbeat_interval": 9, "labels": ["web"]}, ["m:2"])
        assert (config.heartbeat_interval, config.labels, config.cluster_members) == (2, ["web"], ["m:2"])


def view_of(failover: FailoverConfig, index: Callable[[], int] = lambda: 0) -> ReadOnlyFailover:
    return ReadOnlyFailover(failover, index, lambda: "a (refused), b (timed out)")


class TestReadOnlyView:
    @pytest.fixture
    def failover(self) -> FailoverConfig:
        return with_clusters("a", "b")

    def test_it_shows_where_the_client_is(self, failover: FailoverConfig) -> None:
        index = 0
        view = view_of(failover, lambda: index)
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
    def test_a_change_is_refused_with_advice(
        self, failover: FailoverConfig, change: Callable[[ReadOnlyFailover], None]
    ) -> None:
        with pytest.raises(TypeError, match=r"client\.reset\(\)"):
            change(view_of(failover))

    def test_past_the_last_cluster_the_error_says_why(self, failover: FailoverConfig) -> None:
        """It does not advise what it refuses."""
        with pytest.raises(ClientOfflineException) as raised:
            view_of(failover, lambda: 2).get_current_cluster()
        assert str(raised.value) == "no cluster can be reached: a (refused), b (timed out)"

    def test_its_copy_can_be_changed(self, failover: FailoverConfig) -> None:
        failover.switch_to_next_cluster()
        other = view_of(failover, lambda: 1).copy()
        assert type(other) is FailoverConfig
        assert other.current_cluster_index == 0
        other.add_cluster("c", NODE)
        assert failover.cluster_count == 2
