"""The minimal cost of a `get`: its bytes sent and its answer received, by threads without a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from hazelcast.config import Config
from hazelcast.protocol.codec import map_get_codec
from hazelcast.serialization.service import SerializationServiceV1

from benchmarks.clusters import official
from flask_hazelcast_failover.client._official import encode_authentication
from flask_hazelcast_failover.testing import LocalCluster

__all__ = ["bare_get"]

_MAP, _KEY = "bench", "key"


@contextmanager
def bare_get(cluster: LocalCluster) -> Iterator[Callable[[str], bytes]]:
    """Give a function that exchanges the bytes of a `get`, on one connection for each thread."""
    request = _request(cluster)
    local = threading.local()
    with ExitStack() as connections:

        def get(_: str) -> bytes:
            connection: socket.socket | None = getattr(local, "connection", None)
            if connection is None:
                connection = local.connection = connections.enter_context(_connection(cluster))
            connection.sendall(request)
            return connection.recv(4096)

        yield get


def _request(cluster: LocalCluster) -> bytes:
    with official(cluster) as client:
        partition = client.partition_service.get_partition_id(_KEY)
    request = map_get_codec.encode_request(_MAP, SerializationServiceV1(Config()).to_data(_KEY), 1)
    request.set_correlation_id(1)
    request.set_partition_id(partition)
    return bytes(request.buf)


def _connection(cluster: LocalCluster) -> socket.socket:
    host, _, port = cluster.addresses[0].rpartition(":")
    config = Config()
    config.cluster_name = cluster.name
    connection = socket.create_connection((host, int(port)), timeout=5.0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(encode_authentication(config, host, int(port)))
    connection.recv(4096)
    return connection
