"""Single attempts at a cluster, in time whatever comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hazelcast.config import Config

from flask_hazelcast_failover import ClientConfig
from flask_hazelcast_failover.client.attempt import AttemptFailed, attempt
from flask_hazelcast_failover.client.official import OfficialClient

CONNECT_TIMEOUT = 0.4
# What an attempt may take beyond its time on a machine that does other things as well.
LEEWAY = 1.0

HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


def configured(cluster_name: str = "blue", **options: Any) -> Callable[[Sequence[str]], Config]:
    def build(addresses: Sequence[str]) -> Config:
        config = ClientConfig.from_dict({"cluster_name": cluster_name, "cluster_members": list(addresses)})
        for name, value in options.items():
            setattr(config, name, value)
        return config

    return build


def opened(addresses: Sequence[str], within: float = 2.0, **options: Any) -> OfficialClient:
    return attempt(addresses, configured(**options), time.monotonic() + within)


def failure(addresses: Sequence[str], within: float = CONNECT_TIMEOUT, **options: Any) -> AttemptFailed:
    """Have an attempt fail, in time."""
    began = time.monotonic()
    with pytest.raises(AttemptFailed) as caught:
        opened(addresses, within, **options)
    took = time.monotonic() - began
    assert took < within + LEEWAY, f"took {took:.2f} s of {within:g}"
    return caught.value
