"""What somebody else may write into a map, with an official client: code that runs wherever it is unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hazelcast.client import HazelcastClient

from flask_hazelcast_failover.testing import LocalCluster


class Payload:
    """Creates a file when it is unpickled, in whichever process."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def has_run(self) -> bool:
        """Whether anybody has unpickled it."""
        return self._file.exists()

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._file,)


@contextmanager
def official_client_on(cluster: LocalCluster, **options: Any) -> Iterator[Any]:
    """Give an official client of the cluster, not one of ours."""
    client = HazelcastClient(cluster_name=cluster.name, cluster_members=cluster.addresses, **options)
    try:
        yield client
    finally:
        client.shutdown()
