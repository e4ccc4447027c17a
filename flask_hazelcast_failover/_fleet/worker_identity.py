"""What a process is in its fleet, and what it sees of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask_hazelcast_failover._fleet.records import Desired, ReachabilityAnswer, WorkerRecord
from flask_hazelcast_failover.client.status import ClientStatus

__all__ = ["FleetView", "WorkerIdentity"]


@dataclass(frozen=True)
class WorkerIdentity:
    """What a process has to know of itself to be one of a fleet.

    :param fleet: the fleet's name
    :param is_named: whether it was given, and so outlives this server
    :param has_past: whether what processes wanted that are gone holds for this one
    :param host: this host's name
    :param pid: this process
    :param labels: of the clusters, in order of priority
    :param has_to_try: whether it knows which clusters it can reach only once it has tried
    """

    fleet: str
    is_named: bool
    has_past: bool
    host: str
    pid: int
    labels: Sequence[str]
    has_to_try: bool

    def record(
        self,
        status: ClientStatus,
        linked: Sequence[str],
        beat: int = 0,
        answers: Iterable[ReachabilityAnswer] = (),
    ) -> WorkerRecord:
        """This process as others shall see it.

        :param linked: labels of the clusters that it is connected to
        """
        current, epoch = status.current_cluster, status.epoch
        reach = tuple(self.labels if self.has_to_try else linked)
        return WorkerRecord(
            status.worker, self.host, self.pid, current, epoch, reach, beat, self.has_to_try, tuple(answers)
        )


@dataclass(frozen=True)
class FleetView:
    """What a process knows of its fleet at one moment."""

    workers: tuple[WorkerRecord, ...] = ()
    desired: Desired | None = None
    is_split: bool = False
    is_known: bool = False  # whether anything could be read at all
    is_told: bool = True  # whether this process has yet to do what is wanted, or to look what that is
    is_held: bool = False  # whether it shall stay where it is wanted
    majority: str | None = None
