"""Whether this process takes part in its fleet, and what it knows of it."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

from ..client import HazelcastClient
from ..client.options import Options, Standby
from ..client.status import State
from .fleet_worker import FleetWorker
from .name import is_server_worker
from .worker_identity import FleetView, WorkerIdentity

READ_TIMEOUT = 3.0
"""How long reading all clusters may take, seconds."""

_ALONE = FleetView()

_logger = logging.getLogger("flask_hazelcast_failover.fleet")


class Participation:
    """This process's part in its fleet. A forked child has one of its own.

    :param name: gives the fleet's name in the process that calls it
    :param is_named: whether the name was configured, so that the fleet outlives this server
    """

    def __init__(
        self, client: HazelcastClient, options: Options, name: Callable[[], str], *, is_named: bool
    ) -> None:
        self.is_cold = options.standby is Standby.COLD
        self.is_serving = False  # only ever becomes true
        self._client = client
        self._name = name
        self._is_named = is_named
        self._lock = threading.Lock()
        self._worker: FleetWorker | None = None  # created once, under _lock

    @property
    def takes_part(self) -> bool:
        """Whether this process belongs to the fleet: a shell does so only if the fleet's name was configured."""
        return self._is_named or self.is_serving

    @property
    def labels(self) -> list[str]:
        """Of the clusters, in order of priority."""
        return [cluster.label for cluster in self._client.status().clusters]

    @property
    def worker(self) -> FleetWorker:
        """This process's worker. Creating it starts no thread."""
        with self._lock:
            if self._worker is None:
                trusts_past = self._is_named or is_server_worker()
                identity = WorkerIdentity(
                    self._name(),
                    self._is_named,
                    trusts_past,
                    socket.gethostname(),
                    os.getpid(),
                    self.labels,
                    self.is_cold,
                )
                self._worker = FleetWorker(self._client, identity, lambda: self.is_serving)
            return self._worker

    def view(self) -> FleetView:
        """What is known of the fleet, read from the clusters if nothing is known yet."""
        if not self.takes_part:
            return _ALONE
        if self.worker.view.is_known or self._client.status().state is not State.CONNECTED:
            return self.worker.view
        return self.refresh()

    def refresh(self) -> FleetView:
        """Read the fleet's records now; what was known before if that fails."""
        if not self.takes_part or self._client.status().state in (State.IDLE, State.CLOSED):
            return _ALONE
        try:
            return self.worker.refresh(READ_TIMEOUT)
        except Exception as error:
            _logger.debug("fleet %s: cannot read its records: %s", self.worker.identity.fleet, error)
            return self.worker.view

    def stop(self, timeout: float) -> None:
        """Leave the fleet, within ``timeout`` seconds."""
        with self._lock:
            worker = self._worker
        if worker is not None:
            worker.stop(timeout)
