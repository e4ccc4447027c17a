"""The seam between those who command a switch (admin routes, the command line) and the fleet that carries it out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Protocol


class Precondition(Enum):
    """What must hold before anything changes."""

    ALL_CAN_REACH_IT = "every live process that is told can reach the target"
    NONE = "nothing: whoever can reach the target goes there"


@dataclass(frozen=True)
class SwitchCommand:
    """A command to switch to a cluster.

    :param label: of the cluster; ``None``: the one with the highest priority
    :param by: who commands it
    :param workers: ids of the processes that are to switch; ``None``: all of them
    """

    label: str | None
    by: str
    workers: tuple[str, ...] | None = None
    precondition: Precondition = Precondition.ALL_CAN_REACH_IT


@dataclass(frozen=True)
class CommandResult:
    """Ids of the processes that were told to switch, that have switched, and that have not."""

    generation: int
    told: tuple[str, ...]
    done: tuple[str, ...]
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }


class UnknownTarget(ValueError):
    """There is no such cluster or worker."""


class TargetUnreachable(Exception):
    """The precondition does not hold, and nothing has changed."""


class FleetControl(Protocol):
    """What operators can do with a fleet. A lone process is a fleet of one."""

    def status(self) -> dict[str, Any]:
        """The status of the process that answers and of its fleet, ready for JSON."""
        ...

    def carry_out(self, command: SwitchCommand) -> CommandResult:
        """Switch the processes that the command names.

        :raises UnknownTarget: there is no such cluster or worker
        :raises TargetUnreachable: the precondition does not hold, and nothing has changed
        """
        ...
