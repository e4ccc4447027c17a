"""What a client, and the process that it runs in, are called."""

from __future__ import annotations

import os
import socket
import uuid

from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.failover import FailoverConfig

__all__ = ["client_name", "worker_id"]


def client_name(options: Options, clusters: FailoverConfig) -> str:
    """The ``client_name`` that was configured, or one that tells this client from others."""
    own, common = clusters.clusters[0].client_options, options.client_options
    given = own.get("client_name") or common.get("client_name")
    return given or f"hz.failover_client_{uuid.uuid4().hex[:8]}"


def worker_id() -> str:
    """A new id for this process: its host, its number, and what tells it from later ones with the same."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
