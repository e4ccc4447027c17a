"""FailoverConfig: clusters with fixed addresses and with DNS names."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from flask_hazelcast_failover.errors import ClientOfflineException
from flask_hazelcast_failover.failover import FailoverConfig
from tests.support.addresses import DNS_NAME, NODE
from tests.support.dns import Failure, LoopbackDns, default_resolver


class TestDnsClusters:
    def test_adding_one_looks_nothing_up(self) -> None:
        with LoopbackDns() as server, default_resolver(server):
            FailoverConfig().add_cname_cluster("a", DNS_NAME)
            assert server.queries(DNS_NAME) == 0

    def test_its_client_config_has_the_resolved_addresses(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME, port=5702)
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2", "127.0.0.3", through=("eu.example.com",))
            assert failover.to_client_config(0).cluster_members == ["127.0.0.2:5702", "127.0.0.3:5702"]

    def test_a_name_without_addresses_is_an_error(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME)
        expected = pytest.raises(ClientOfflineException, match=DNS_NAME)
        with LoopbackDns() as server, default_resolver(server), expected:
            failover.to_client_config(0)

    def test_known_addresses_survive_a_failure_of_dns(self) -> None:
        failover = FailoverConfig()
        failover.add_cname_cluster("a", DNS_NAME, refresh_interval=0)
        with LoopbackDns() as server, default_resolver(server):
            server.answer(DNS_NAME, "127.0.0.2")
            failover.to_client_config(0)
            server.reply(DNS_NAME, Failure.SERVFAIL)
            assert failover.to_client_config(0).cluster_members == ["127.0.0.2:5701"]

    def test_a_client_with_its_config_continues_to_resolve(self) -> None:
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

    def test_only_dns_clusters_have_resolvers(self) -> None:
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
    def test_a_bad_address_is_refused_with_its_index(
        self, given: Any, error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            FailoverConfig().add_cluster("a", given)

    def test_a_password_in_an_address_is_not_shown(self) -> None:
        with pytest.raises(ValueError, match="not a URL") as caught:
            FailoverConfig().add_cluster("a", ["shop:hunter2@node:5701"])
        assert "hunter2" not in str(caught.value)
        with pytest.raises(TypeError, match="list of ClientConfig") as refused:
            FailoverConfig.from_configs("hazelcast://shop:hunter2@node:5701")  # type: ignore[arg-type]
        assert "hunter2" not in str(refused.value)
