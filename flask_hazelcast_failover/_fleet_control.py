"""Who carries out a wish to be on another cluster: the seam between those who ask and those who move.

``fleet.Fleet`` carries it out; a lone process is a fleet of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

__all__ = [
    "CommandResult",
    "FleetControl",
    "Precondition",
    "SwitchCommand",
    "TargetUnreachable",
    "UnknownTarget",
]


class Precondition(Enum):
    """What must hold before anything changes."""

    ALL_CAN_REACH_IT = "every live process that is told can reach the target"
    NONE = "nothing: whoever can reach the target goes there"


@dataclass(frozen=True)
class SwitchCommand:
    """To be on the cluster ``label`` (``None``: the one with the highest priority).

    ``workers`` are the ids of the processes that shall move (``None``: all of them); ``by`` is who wishes it.
    """

    label: str | None
    by: str
    workers: tuple[str, ...] | None = None
    precondition: Precondition = Precondition.ALL_CAN_REACH_IT


@dataclass(frozen=True)
class CommandResult:
    """What became of a wish: ids of the processes that were told, that are there, and that are not."""

    generation: int
    told: tuple[str, ...]
    done: tuple[str, ...]
    missing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return {
            "generation": self.generation,
            "told": list(self.told),
            "done": list(self.done),
            "missing": list(self.missing),
        }


class UnknownTarget(ValueError):
    """There is no such cluster or worker."""


class TargetUnreachable(Exception):
    """The precondition does not hold, and nothing has changed."""


class FleetControl(Protocol):
    """What the admin routes ask for."""

    def status(self) -> dict[str, Any]:
        """Return the status of the process that answers and of its fleet, as JSON can carry it."""
        ...

    def carry_out(self, wish: SwitchCommand) -> CommandResult:
        """Move. Raises ``UnknownTarget`` or ``TargetUnreachable``, and then nothing has changed."""
        ...
