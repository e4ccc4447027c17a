"""HazelcastCache without a client, with a wrong argument, or without a reachable cluster."""

from typing import Any

import pytest
from flask import Flask
from hazelcast.errors import ClientOfflineError

from flask_hazelcast_failover import HazelcastClient
from flask_hazelcast_failover.integrations.cachelib import HazelcastCache


def test_the_default_client_is_that_of_the_current_app() -> None:
    cache = HazelcastCache()
    with pytest.raises(RuntimeError, match=r"no current app.*app_context"):
        cache.get("key")
    with Flask("bare").app_context(), pytest.raises(RuntimeError, match=r"'bare' has no HazelcastFailover"):
        cache.get("key")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"client": "localhost:5701"}, TypeError, "client must be a HazelcastClient.*not a str"),
        ({"client": None, "map_name": ""}, ValueError, "map_name must not be empty"),
        ({"client": None, "map_name": 5}, TypeError, "map_name must be a str, not a int"),
        ({"client": None, "key_prefix": 5}, TypeError, "key_prefix must be a str .*not a int"),
        ({"client": None, "when_offline": "ignore"}, ValueError, "ignore"),
    ],
)
def test_a_wrong_argument_is_refused_at_once(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        HazelcastCache(**arguments)


def test_an_unreachable_cache_is_empty_and_stores_nothing(away: HazelcastClient) -> None:
    cache = HazelcastCache(away)
    assert cache.get("key") is None
    assert cache.get_many("a", "b") == [None, None]
    assert cache.has("key") is cache.delete("key") is cache.clear() is False
    assert cache.set("key", 1) is cache.add("key", 1) is False
    assert cache.set_many({"a": 1, "b": 2}) == cache.delete_many("a") == []
    assert cache.inc("key") is cache.dec("key") is None


def test_a_failed_deletion_can_raise(away: HazelcastClient) -> None:
    with pytest.raises(RuntimeError, match=r"Failed to delete keys: \['a', 'b'\]"):
        HazelcastCache(away, ignore_delete_many_errors=False).delete_many("a", "b")


def test_an_unreachable_cache_can_raise(away: HazelcastClient) -> None:
    cache = HazelcastCache(away, when_offline="raise")
    for ask in (cache.get, cache.has, cache.delete, cache.get_many, cache.delete_many, cache.inc):
        with pytest.raises(ClientOfflineError):
            ask("key")
    with pytest.raises(ClientOfflineError):
        cache.set("key", 1)
    with pytest.raises(ClientOfflineError):
        cache.clear()
