"""FailoverConfig: bad arguments are refused by name, without showing a secret."""

from __future__ import annotations

from typing import Any

import pytest

from flask_hazelcast_failover.failover import ClientConfig, FailoverConfig
from tests.support.addresses import DNS_NAME, NODE

HUGE = 10**5000
"""A number too large for a float, and for Python to format."""


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

    def test_none_as_a_client_option_is_ignored(self) -> None:
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
