"""ClientConfig: the official configuration, stricter, and how this client uses it."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
from hazelcast.config import Config, ReconnectMode, SSLProtocol
from hazelcast.util import RoundRobinLB

from flask_hazelcast_failover.failover import ClientConfig, FailoverConfig
from flask_hazelcast_failover.failover.client_config import build_config

OWNED: dict[str, Any] = {
    "async_start": True,
    "reconnect_mode": ReconnectMode.OFF,
    "cluster_connect_timeout": 5,
    "retry_initial_backoff": 0.5,
    "retry_max_backoff": 3.0,
    "retry_jitter": 0.5,
    "retry_multiplier": 2.0,
    "redo_operation": True,
}

VALUES: dict[str, Any] = {
    "cluster_name": "east",
    "cluster_members": ["east-node1:5701"],
    "client_name": "shop",
    "connection_timeout": 2.5,
    "socket_options": [(6, 1, 1)],
    "smart_routing": False,
    "ssl_enabled": True,
    "ssl_password": "hunter2",
    "ssl_protocol": SSLProtocol.TLSv1_3,
    "near_caches": {"products": {"time_to_live": 10}},
    "labels": ["web"],
    "heartbeat_interval": 2,
    "statistics_enabled": True,
    "creds_username": "shop",
    "creds_password": "hunter2",
    "try_count": 7,
}


def used(config: Config) -> ClientConfig:
    """The configuration that a client uses when it is given this one."""
    return FailoverConfig.from_client_config(config).to_client_config(0)


def test_it_is_an_official_configuration_with_three_tries() -> None:
    config = ClientConfig()
    assert isinstance(config, Config)
    assert config.cluster_name == "dev"
    assert config.try_count == 3


@pytest.mark.parametrize("name", sorted(OWNED.keys() | VALUES.keys()))
def test_every_official_option_can_be_set_as_an_attribute(name: str) -> None:
    config = ClientConfig()
    value = {**OWNED, **VALUES}[name]
    setattr(config, name, value)
    if name != "near_caches":
        assert getattr(config, name) == value


def test_a_mistyped_attribute_is_refused_with_the_nearest_name() -> None:
    config = ClientConfig()
    with pytest.raises(AttributeError, match=r"'clustername'.*did you mean 'cluster_name'"):
        config.clustername = "east"


@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), ("3", TypeError), (2.0, TypeError), (True, TypeError)],
)
def test_a_bad_try_count_is_refused(value: Any, error: type[Exception]) -> None:
    config = ClientConfig()
    with pytest.raises(error, match="try_count"):
        config.try_count = value
    with pytest.raises(error, match="try_count"):
        ClientConfig.from_dict({"try_count": value})


def test_a_dictionary_sets_every_option() -> None:
    config = ClientConfig.from_dict(VALUES)
    assert isinstance(config, ClientConfig)
    assert config.cluster_members == ["east-node1:5701"]
    assert config.near_caches["products"].time_to_live == 10
    assert config.try_count == 7


def test_none_in_a_dictionary_is_ignored() -> None:
    config = ClientConfig.from_dict(
        {"cluster_name": None, "creds_password": None, "redo_operation": None, "try_count": None}
    )
    assert config.cluster_name == "dev"
    assert config.try_count == 3


def test_a_dictionary_is_not_changed_and_not_shared() -> None:
    given = {"near_caches": {"products": {"time_to_live": 10}}}
    ClientConfig.from_dict(given)
    assert given == {"near_caches": {"products": {"time_to_live": 10}}}


def test_an_unknown_option_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"'cluster_member'.*did you mean 'cluster_members'"):
        ClientConfig.from_dict({"cluster_member": ["east:5701"]})


@pytest.mark.parametrize("name", sorted(OWNED))
def test_an_owned_option_in_a_dictionary_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is decided by this client"):
        ClientConfig.from_dict({name: OWNED[name]})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("cluster_connect_timeout", "connect_timeout"),
        ("retry_initial_backoff", "retry_delay"),
        ("redo_operation", "repeat"),
        ("reconnect_mode", "try_count"),
    ],
)
def test_a_refused_option_names_the_setting_to_use(name: str, setting: str) -> None:
    with pytest.raises(ValueError, match=setting):
        ClientConfig.from_dict({name: OWNED[name]})


def test_cloud_discovery_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cloud_discovery_token.*addresses") as caught:
        ClientConfig.from_dict({"cloud_discovery_token": "hunter2"})
    assert "hunter2" not in str(caught.value)
    config = ClientConfig()
    config.cloud_discovery_token = "hunter2"
    with pytest.raises(ValueError, match="cloud_discovery_token"):
        used(config)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"connection_timeout": "5"}, TypeError, "connection_timeout"),
        ({"connection_timeout": -1}, ValueError, "connection_timeout"),
        ({"connection_timeout": True}, TypeError, "connection_timeout"),
        ({"connection_timeout": float("nan")}, ValueError, "connection_timeout"),
        ({"ssl_enabled": "yes"}, TypeError, "ssl_enabled"),
        ({"ssl_protocol": "TLS9"}, ValueError, "ssl_protocol"),
        ({"ssl_protocol": []}, TypeError, "ssl_protocol"),
        ({"default_int_type": "HUGE"}, ValueError, "default_int_type"),
        ({"near_caches": []}, TypeError, "near_caches"),
        ({"near_caches": {"m": {"time_to_liv": 1}}}, ValueError, "time_to_live"),
        ({"near_caches": {"m": {"time_to_live": -1}}}, ValueError, "near_caches"),
        ({"flake_id_generators": {"f": {"prefetch": 1}}}, ValueError, "prefetch_count"),
        ({"creds_username": 5}, TypeError, "creds_username"),
        ({"cluster_name": ""}, ValueError, "cluster_name"),
        ({"cluster_members": ["east:0"]}, ValueError, "cluster_members"),
        ({"cluster_members": "east:5701"}, TypeError, "cluster_members"),
        ({5: "five"}, TypeError, "name of a client option"),
        (["cluster_name"], TypeError, "dict"),
    ],
)
def test_a_bad_value_in_a_dictionary_is_refused_by_name(
    options: Any, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        ClientConfig.from_dict(options)


@pytest.mark.parametrize(
    "name", ["creds_password", "ssl_password", "token_provider", "cloud_discovery_token"]
)
def test_no_error_shows_a_secret(name: str) -> None:
    for value in (["4711"], {"password": "4711"}, 4711, "4711" if name == "token_provider" else 4711.0):
        with pytest.raises((TypeError, ValueError)) as caught:
            ClientConfig.from_dict({name: value})
        assert name in str(caught.value)
        assert "4711" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_its_repr_shows_no_secret() -> None:
    shown = repr(ClientConfig.from_dict(VALUES))
    assert "hunter2" not in shown
    assert "creds_password" in shown
    assert "east-node1:5701" in shown


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, ClientConfig.copy, lambda config: pickle.loads(pickle.dumps(config))],
    ids=["copy", "deepcopy", "its own copy", "pickle"],
)
def test_a_copy_can_be_changed_alone(duplicate: Any) -> None:
    config = ClientConfig.from_dict(VALUES)
    other = duplicate(config)
    other.cluster_members.append("east-node2:5701")
    other.near_caches["products"].time_to_live = 99
    other.try_count = 1
    assert config.cluster_members == ["east-node1:5701"]
    assert config.near_caches["products"].time_to_live == 10
    assert config.try_count == 7
    assert (other.cluster_name, other.creds_password) == ("east", "hunter2")


def test_owned_attributes_are_ignored_with_one_warning() -> None:
    """It names all of them."""
    config = ClientConfig()
    for name, value in OWNED.items():
        setattr(config, name, value)
    with pytest.warns(UserWarning, match="ignored") as caught:
        made = used(config)
    (warning,) = caught
    assert all(name in str(warning.message) for name in OWNED)
    assert warning.filename == __file__
    assert all(getattr(made, name) == getattr(Config(), name) for name in OWNED)


def test_each_use_of_a_configuration_warns_once() -> None:
    config = ClientConfig()
    config.redo_operation = True
    for _ in range(2):
        with pytest.warns(UserWarning, match="redo_operation") as caught:
            FailoverConfig.from_configs([config])
        assert len(caught) == 1


def test_a_configuration_with_defaults_does_not_warn() -> None:
    config = ClientConfig()
    config.redo_operation = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used(config)


def test_a_configuration_is_read_and_not_changed() -> None:
    config = ClientConfig.from_dict(VALUES)
    made = used(config)
    for name, value in VALUES.items():
        if name != "near_caches":
            assert getattr(made, name) == value
    assert made.near_caches["products"].time_to_live == 10
    made.labels.append("other")
    made.near_caches["products"].time_to_live = 99
    assert config.labels == ["web"]
    assert config.near_caches["products"].time_to_live == 10


def test_an_option_changed_in_place_is_read() -> None:
    config = ClientConfig()
    config.cluster_members.append("east-node1:5701")
    config.labels.append("web")
    made = used(config)
    assert made.cluster_members == ["east-node1:5701"]
    assert made.labels == ["web"]


def test_an_explicit_default_overrides_the_common_option() -> None:
    config = ClientConfig()
    config.smart_routing = True
    (cluster,) = FailoverConfig.from_client_config(config).clusters
    common = {"smart_routing": False, "statistics_enabled": True}
    made = build_config(cluster, common, ["127.0.0.1:5701"])
    assert made.smart_routing is True
    assert made.statistics_enabled is True


def test_each_client_gets_a_load_balancer_of_its_own() -> None:
    config = ClientConfig()
    config.load_balancer = RoundRobinLB()
    failover = FailoverConfig.from_client_config(config)
    balancers = [failover.to_client_config(0).load_balancer for _ in range(2)] + [config.load_balancer]
    assert len({id(balancer) for balancer in balancers}) == 3


def test_without_members_the_official_default_is_used() -> None:
    assert used(ClientConfig()).cluster_members == [
        "127.0.0.1:5701",
        "127.0.0.1:5702",
        "127.0.0.1:5703",
    ]


def test_an_official_configuration_is_accepted() -> None:
    config = Config()
    config.cluster_name = "east"
    config.statistics_enabled = True
    made = used(config)
    assert (made.cluster_name, made.statistics_enabled, made.try_count) == ("east", True, 3)


def test_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match=r"ClientConfig.*dict"):
        used({"cluster_name": "east"})  # type: ignore[arg-type]
