"""The HAZELCAST_FAILOVER_* keys of an app: their forms, and what init_app refuses."""

import math
from typing import Any

import pytest
from flask import Flask

from flask_hazelcast_failover import HazelcastFailover
from flask_hazelcast_failover._settings import Settings

BLUE = "hazelcast://blue@blue-1:5701"
KEYS = {
    "CLUSTERS",
    "TRY_COUNT",
    "RETRY_DELAY",
    "CONNECT_TIMEOUT",
    "WAIT_TIMEOUT",
    "OPERATION_TIMEOUT",
    "DRAIN_TIMEOUT",
    "REPEAT",
    "STANDBY",
    "HEALTH_CHECK_INTERVAL",
    "HEALTH_CHECK_TIMEOUT",
    "HEALTH_CHECK_FAILURES",
    "LISTENER_QUEUE_EVENTS",
    "LISTENER_QUEUE_BYTES",
    "MAX_MESSAGE_SIZE",
    "FAILBACK",
    "FAILBACK_AFTER",
    "READY_CHECK",
    "CLIENT_OPTIONS",
    "FLEET",
    "ADMIN_TOKEN",
    "ADMIN_URL_PREFIX",
}
SECONDS = {
    "RETRY_DELAY",
    "CONNECT_TIMEOUT",
    "WAIT_TIMEOUT",
    "OPERATION_TIMEOUT",
    "DRAIN_TIMEOUT",
    "HEALTH_CHECK_INTERVAL",
    "HEALTH_CHECK_TIMEOUT",
    "FAILBACK_AFTER",
}
WRONG_TYPES: dict[str, list[object]] = {
    "CLUSTERS": [
        None,
        5,
        True,
        {"cluster_name": "blue"},
        [5],
        [None],
        [["blue"]],
        '{"cluster_name": "blue"}',
        "[5]",
    ],
    "TRY_COUNT": [None, "3", 3.0, True, [3]],
    "REPEAT": [None, 1, True, ["reads"]],
    "STANDBY": [None, 1, False],
    "HEALTH_CHECK_FAILURES": [None, "5", 5.0, True],
    "LISTENER_QUEUE_EVENTS": [None, "5", 5.0, True, [5]],
    "LISTENER_QUEUE_BYTES": [None, "64 MiB", 1e6, False],
    "MAX_MESSAGE_SIZE": [None, "64 MiB", 1e6, False],
    "FAILBACK": [None, 1, True],
    "READY_CHECK": [1, True, ["os.path:exists"]],
    "CLIENT_OPTIONS": [None, "labels", ["labels"], {5: 1}, {"labels": 5}],
    "FLEET": [1, True, ["shop"]],
    "ADMIN_TOKEN": [True, ["token"], {"token": 1}, b"token"],
    "ADMIN_URL_PREFIX": [1, True, ["/hazelcast"]],
    **{name: [None, "1", True, [1]] for name in SECONDS},
}
BAD_VALUES: dict[str, list[object]] = {
    "CLUSTERS": [
        "",
        "   ",
        [],
        "[]",
        "[",
        "blue",
        "redis://blue@host:5701",
        "hazelcast://host:5701",
        "hazelcast://@host:5701",
        "hazelcast://blue@",
        "hazelcast://blue@host:0",
        "hazelcast://blue@host:65536",
        "hazelcast://blue@host:port",
        "hazelcast://blue@host:5701/path",
        "hazelcast://blue@host:5701#part",
        "hazelcast://blue@host:5701,",
        "hazelcast://blue@host:5701?priority=first",
        "hazelcast://blue@host:5701?priority",
        "hazelcast://blue@host:5701?priority=-1",
        "hazelcast://blue@host:5701?priority=1&priority=2",
        "hazelcast://blue@host:5701?label=",
        "hazelcast://blue@host:5701?refresh_interval=60",
        "hazelcast://bl%FFue@host:5701",
        "hazelcast+cname://blue@host:5701,host:5702",
        "hazelcast+cname://blue@host:5701?refresh_interval=-1",
        "hazelcast+cname://blue@host:5701?refresh_interval=often",
        f"{BLUE} {BLUE}",
        [{}],
        [{"cluster_name": "", "addresses": ["host:5701"]}],
        [{"cluster_name": "blue"}],
        [{"cluster_name": "blue", "addresses": []}],
        [{"addresses": ["host:5701"]}],
        [{"cluster_name": "blue", "addresses": ["host:5701"], "dns_name": "host"}],
        [{"cluster_name": "blue", "addresses": ["host:5701"], "priorty": 1}],
    ],
    "TRY_COUNT": [0, -1],
    "REPEAT": ["all", "", "Reads"],
    "STANDBY": ["warm"],
    "HEALTH_CHECK_FAILURES": [0],
    "LISTENER_QUEUE_EVENTS": [0, -1],
    "LISTENER_QUEUE_BYTES": [0, -1],
    "MAX_MESSAGE_SIZE": [0, -1, 1023],
    "FAILBACK": ["automatic"],
    "READY_CHECK": ["", "no_such_package:check", "os.path:no_such_function", "os.path"],
    "CLIENT_OPTIONS": [{"labls": ["web"]}, {"reconnect_mode": "ON"}, {"cluster_name": "blue"}],
    "FLEET": ["", "  ", "a\nb"],
    "ADMIN_TOKEN": ["", " token", "to\nken"],
    "ADMIN_URL_PREFIX": ["", "/", "hazelcast", "/hazelcast/", "//hazelcast", "/<name>", "/a b", "/a?b"],
    **{name: [-1, -0.5, math.nan, math.inf] for name in SECONDS},
}


def settings(**given: Any) -> Settings:
    config = {"CLUSTERS": BLUE} | given
    return Settings.from_config({f"HAZELCAST_FAILOVER_{name}": value for name, value in config.items()})


def cases(by_name: dict[str, list[object]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}={value!r}"[:60])
        for name, values in sorted(by_name.items())
        for value in values
    ]


def refused_by_init_app(kind: type[Exception], **given: Any) -> str:
    flask_app = Flask(__name__)
    for name, value in ({"CLUSTERS": BLUE} | given).items():
        flask_app.config[f"HAZELCAST_FAILOVER_{name}"] = value
    with pytest.raises(kind) as refusal:
        HazelcastFailover(flask_app)
    assert "hazelcast_failover" not in flask_app.extensions
    return str(refusal.value)


def test_every_key_is_tried_with_a_wrong_type_and_a_bad_value() -> None:
    assert WRONG_TYPES.keys() == BAD_VALUES.keys() == KEYS


@pytest.mark.parametrize(("name", "value"), cases(WRONG_TYPES))
def test_a_wrong_type_is_refused_with_the_key_and_the_type(name: str, value: object) -> None:
    message = refused_by_init_app(TypeError, **{name: value})
    assert f"HAZELCAST_FAILOVER_{name}" in message
    kinds = {type(value).__name__}
    if isinstance(value, list) and value:
        kinds.add(type(value[0]).__name__)
    if isinstance(value, dict):
        kinds |= {type(item).__name__ for item in (*value, *value.values())}
    if name == "CLUSTERS" and isinstance(value, str):
        kinds |= {"dict", "int"}
    assert any(kind in message for kind in kinds), message


@pytest.mark.parametrize(("name", "value"), cases(BAD_VALUES))
def test_a_bad_value_is_refused_with_the_key_and_its_type(name: str, value: object) -> None:
    message = refused_by_init_app(ValueError, **{name: value})
    assert f"HAZELCAST_FAILOVER_{name}" in message
    kinds = {type(value).__name__, type(value[0]).__name__ if isinstance(value, list) and value else "list"}
    assert name == "ADMIN_TOKEN" or any(
        f"({kind})" in message or f"an empty {kind}" in message for kind in kinds
    ), message


@pytest.mark.parametrize("name", sorted(KEYS))
def test_an_unknown_key_is_refused_with_the_nearest_one(name: str) -> None:
    """And with the type of its value."""
    mistyped = f"{name[:-1]}" if len(name) > 6 else f"{name}X"
    message = refused_by_init_app(ValueError, **{mistyped: 1.5})
    assert f"HAZELCAST_FAILOVER_{mistyped} (its value is a float)" in message
    assert message.endswith(f"HAZELCAST_FAILOVER_{name}")


def test_a_key_in_the_wrong_case_is_unknown() -> None:
    with pytest.raises(
        ValueError, match=r"HAZELCAST_FAILOVER_Fleet.*nearest valid key is HAZELCAST_FAILOVER_FLEET"
    ):
        settings(Fleet="shop")


def test_other_keys_are_ignored() -> None:
    flask_app = Flask(__name__)
    flask_app.config.update(HAZELCAST_FAILOVER_CLUSTERS=BLUE, HAZELCAST_CLIENT=object(), SECRET_KEY="x")
    HazelcastFailover(flask_app)


def test_without_clusters_the_error_says_how_to_give_them() -> None:
    with pytest.raises(ValueError, match=r"HAZELCAST_FAILOVER_CLUSTERS is missing.*hazelcast://blue@host"):
        Settings.from_config({})
    with pytest.raises(
        ValueError, match=r"HAZELCAST_FAILOVER_CLUSTERS \(an empty list\).*hazelcast://blue@host"
    ):
        settings(CLUSTERS=[])


def test_defaults_are_those_of_the_contract() -> None:
    found = settings()
    assert (found.fleet, found.admin_token, found.admin_url_prefix) == (None, None, "/hazelcast")
    assert found.options.try_count == found.clusters.try_count == 3


def test_secrets_are_in_no_repr() -> None:
    found = settings(
        ADMIN_TOKEN="hidden",
        CLIENT_OPTIONS={"creds_username": "u", "creds_password": "hidden"},
        CLUSTERS=[
            {"cluster_name": "b", "addresses": ["h:1"], "creds_username": "u", "creds_password": "hidden"},
        ],
    )
    assert "hidden" not in repr(found)


@pytest.mark.parametrize("value", ["a=b", "ä€", "with space", "1e5", "007", "true", "x" * 500])
def test_a_token_is_taken_as_it_is(value: str) -> None:
    assert settings(ADMIN_TOKEN=value).admin_token == value


@pytest.mark.parametrize(
    "typed", ["12345", "007", "1e5", "1.50", "-0", "0", "12345678901234567890123", "NaN", "abc", "2024-01-01"]
)
def test_a_token_from_the_environment_is_what_was_typed(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_CLUSTERS", BLUE)
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN", typed)
    flask_app = Flask(__name__)
    flask_app.config.from_prefixed_env()
    assert Settings.from_config(flask_app.config).admin_token == typed


@pytest.mark.parametrize("number", [12345, 12.5])
def test_a_number_is_taken_as_a_token(number: float) -> None:
    assert settings(ADMIN_TOKEN=number).admin_token == str(number)


def test_an_ambiguous_number_is_refused_as_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment holds several texts that parse to it."""
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_ADMIN_TOKEN", "1.5")
    monkeypatch.setenv("SHOP_HAZELCAST_FAILOVER_ADMIN_TOKEN", "15e-1")
    message = refused_by_init_app(TypeError, ADMIN_TOKEN=1.5)
    assert "HAZELCAST_FAILOVER_ADMIN_TOKEN" in message and "float" in message and "quotes" in message
    assert "1.5" not in message


def test_no_error_shows_the_token() -> None:
    for token in (" hidden", "hid\nden", ["hidden"], {"hidden": 1}):
        with pytest.raises((TypeError, ValueError)) as refusal:
            settings(ADMIN_TOKEN=token)
        assert "hid" not in str(refusal.value)


def test_every_key_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "CLUSTERS": f"{BLUE} hazelcast+cname://green@green.internal",
        "TRY_COUNT": "2",
        "RETRY_DELAY": "1",
        "CONNECT_TIMEOUT": "2.5",
        "WAIT_TIMEOUT": "0",
        "OPERATION_TIMEOUT": "5",
        "DRAIN_TIMEOUT": "5",
        "REPEAT": "none",
        "STANDBY": "cold",
        "HEALTH_CHECK_INTERVAL": "0",
        "HEALTH_CHECK_TIMEOUT": "2",
        "HEALTH_CHECK_FAILURES": "2",
        "LISTENER_QUEUE_EVENTS": "1000",
        "LISTENER_QUEUE_BYTES": "1000000",
        "MAX_MESSAGE_SIZE": "1000000",
        "FAILBACK": "auto",
        "FAILBACK_AFTER": "60",
        "READY_CHECK": "os.path:exists",
        "CLIENT_OPTIONS": '{"labels": ["web"]}',
        "FLEET": "shop",
        "ADMIN_TOKEN": "token",
        "ADMIN_URL_PREFIX": "/ops/hazelcast",
    }
    assert given.keys() == KEYS
    for name, text in given.items():
        monkeypatch.setenv(f"FLASK_HAZELCAST_FAILOVER_{name}", text)
    flask_app = Flask(__name__)
    flask_app.config.from_prefixed_env()
    found = Settings.from_config(flask_app.config)
    assert [cluster.label for cluster in found.clusters.clusters] == ["blue", "green"]
    assert (found.options.try_count, found.clusters.try_count) == (2, 2)
    assert (found.options.retry_delay, found.options.connect_timeout) == (1.0, 2.5)
    assert (found.options.repeat, found.options.standby, found.options.failback) == ("none", "cold", "auto")
    assert (found.options.listener_queue_events, found.options.listener_queue_bytes) == (1000, 1_000_000)
    assert found.options.max_message_size == 1_000_000
    assert found.options.client_options == {"labels": ["web"]}
    assert (found.fleet, found.admin_token, found.admin_url_prefix) == ("shop", "token", "/ops/hazelcast")


def test_single_client_options_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_CLUSTERS", BLUE)
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_CLIENT_OPTIONS__smart_routing", "false")
    flask_app = Flask(__name__)
    flask_app.config.from_prefixed_env()
    assert Settings.from_config(flask_app.config).options.client_options == {"smart_routing": False}


def test_null_in_the_environment_turns_the_admin_routes_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_CLUSTERS", BLUE)
    monkeypatch.setenv("FLASK_HAZELCAST_FAILOVER_ADMIN_URL_PREFIX", "null")
    flask_app = Flask(__name__)
    flask_app.config.from_prefixed_env()
    assert Settings.from_config(flask_app.config).admin_url_prefix is None
