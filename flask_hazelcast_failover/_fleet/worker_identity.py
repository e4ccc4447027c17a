"""What a worker is in its fleet, and what it knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..client.status import ClientStatus
from .records import Desired, ReachabilityAnswer, WorkerRecord


@dataclass(frozen=True)
class WorkerIdentity:
    """What does not change about this worker.

    :param fleet: the fleet's name
    :param is_named: whether the name was configured, so that the fleet outlives this server
    :param trusts_past: whether it obeys the desired state of workers that have all gone
    :param host: this host's name
    :param pid: of this process
    :param labels: of the clusters, in order of priority
    :param has_to_try: whether it knows only after an attempt which clusters it can reach
    """

    fleet: str
    is_named: bool
    trusts_past: bool
    host: str
    pid: int
    labels: Sequence[str]
    has_to_try: bool

    def record(
        self,
        status: ClientStatus,
        connected: Sequence[str],
        heartbeat: int = 0,
        answers: Iterable[ReachabilityAnswer] = (),
    ) -> WorkerRecord:
        """This worker's record.

        :param connected: labels of the clusters that it is connected to
        """
        return WorkerRecord(
            status.worker,
            self.host,
            self.pid,
            status.current_cluster,
            status.epoch,
            tuple(self.labels if self.has_to_try else connected),
            heartbeat,
            self.has_to_try,
            tuple(answers),
        )


@dataclass(frozen=True)
class FleetView:
    """What a worker knows of its fleet at one moment."""

    workers: tuple[WorkerRecord, ...] = ()
    desired: Desired | None = None
    is_known: bool = False  # whether any cluster could be read
    has_pending_order: bool = True  # whether this worker has yet to switch, or to read whether it must
    is_held: bool = False  # whether its order holds it where it is, without automatic failback
    majority: str | None = None
