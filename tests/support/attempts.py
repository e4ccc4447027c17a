"""Single attempts at a cluster, which end in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hazelcast.config import Config

from flask_hazelcast_failover import ClientConfig
from flask_hazelcast_failover.client._connect.attempt import AttemptFailed, attempt
from flask_hazelcast_failover.client._connect.attempt_addresses import AttemptAddresses
from flask_hazelcast_failover.client._official import OfficialClient
from tests.support.waiting import takes_less

CONNECT_TIMEOUT = 0.4
# What an attempt may take beyond its deadline, seconds.
LEEWAY = 0.35

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


def configured(cluster_name: str = "blue", **options: Any) -> Callable[[Sequence[str]], Config]:
    def build(addresses: Sequence[str]) -> Config:
        config = ClientConfig.from_dict({"cluster_name": cluster_name, "cluster_members": list(addresses)})
        for name, value in options.items():
            setattr(config, name, value)
        return config

    return build


def opened(addresses: Sequence[str], within: float = 2.0, **options: Any) -> OfficialClient:
    return attempt(AttemptAddresses.of(addresses), configured(**options), time.monotonic() + within)


def failure(addresses: Sequence[str], within: float = CONNECT_TIMEOUT, **options: Any) -> AttemptFailed:
    """The error of an attempt that fails, in time."""
    failures: list[AttemptFailed] = []

    def fail() -> None:
        with pytest.raises(AttemptFailed) as caught:
            opened(addresses, within, **options)
        failures.append(caught.value)

    assert takes_less(within + LEEWAY, fail), f"an attempt took {LEEWAY:g} s more than its {within:g} s"
    return failures[-1]
