"""Clients on running clusters, with waits short enough for tests.

They are typed ``Any``: the official proxies are generic, and would want their types at every use.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask_hazelcast_failover import FailoverConfig, HazelcastClient
from flask_hazelcast_failover.testing import LocalCluster

QUICK: dict[str, Any] = {
    "try_count": 1,
    "health_check_interval": 0.2,
    "wait_timeout": 5.0,
    "drain_timeout": 2.0,
}


@contextmanager
def client_on(*clusters: LocalCluster, **options: Any) -> Iterator[Any]:
    """Give a connected client on these clusters, the first of the highest priority."""
    config = FailoverConfig()
    for cluster in clusters:
        config.add_cluster(cluster.name, cluster.addresses)
    with HazelcastClient(config, **QUICK | options) as client:
        yield client


@contextmanager
def client_at(*addresses: tuple[str, str], **options: Any) -> Iterator[Any]:
    """Give a connected client on clusters given as (name, "host:port"), such as behind a relay."""
    config = FailoverConfig()
    for name, address in addresses:
        config.add_cluster(name, [address], smart_routing=False, known_members=False)
    with HazelcastClient(config, **QUICK | options) as client:
        yield client


class Outcome:
    """What a call on a thread of its own ended with."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.result: Any = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return not self._thread.is_alive()

    def ends_within(self, seconds: float) -> bool:
        """Whether the call ends by then."""
        self._thread.join(seconds)
        return self.is_over

    def wait(self, within: float = 10.0) -> "Outcome":
        """Wait for the end of the call, and fail if it does not come."""
        assert self.ends_within(within), f"the call has not ended within {within:g} s"
        return self
