"""What a client, and the process that it runs in, are called."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import replace
from types import MappingProxyType

from ...failover import FailoverConfig
from ..options import Options


def named(options: Options) -> Options:
    """The same with a ``client_name`` that distinguishes this client from others, unless one was configured."""
    if options.client_options.get("client_name"):
        return options
    name = f"hz.failover_client_{uuid.uuid4().hex[:8]}"
    return replace(options, client_options=MappingProxyType({**options.client_options, "client_name": name}))


def client_name(options: Options, clusters: FailoverConfig) -> str:
    """What this client is called: as on its first cluster."""
    own, common = clusters.clusters[0].client_options, options.client_options
    name: str = own.get("client_name") or common["client_name"]
    return name


def worker_id() -> str:
    """A new id for this process: its host, its number, and a random part, since numbers are used again."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
