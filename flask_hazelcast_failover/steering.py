"""Who carries out a wish to be on another cluster: the seam between those who ask and those who move.

Today a lone process, which is a fleet of one.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from hazelcast.errors import HazelcastClientNotActiveError

from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.errors import ClientOfflineException

__all__ = ["LoneProcess", "Outcome", "Precondition", "Steering", "TargetUnreachable", "UnknownTarget", "Wish"]


class Precondition(Enum):
    """What must hold before anything changes."""

    ALL_CAN_REACH_IT = "every live process that is told can reach the target"
    NONE = "nothing: whoever can reach the target goes there"


@dataclass(frozen=True)
class Wish:
    """To be on the cluster ``label`` (``None``: the one with the highest priority).

    ``workers`` are the ids of the processes that shall move (``None``: all of them); ``by`` is who wishes it.
    """

    label: str | None
    by: str
    workers: tuple[str, ...] | None = None
    precondition: Precondition = Precondition.ALL_CAN_REACH_IT


@dataclass(frozen=True)
class Outcome:
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


class Steering(Protocol):
    """What the admin routes ask for."""

    def status(self) -> dict[str, Any]:
        """Return the status of the process that answers and of its fleet, as JSON can carry it."""
        ...

    def carry_out(self, wish: Wish) -> Outcome:
        """Move. Raises ``UnknownTarget`` or ``TargetUnreachable``, and then nothing has changed."""
        ...


class LoneProcess:
    """A process that steers nobody but itself."""

    def __init__(self, client: HazelcastClient, fleet_name: str | None, app_name: str) -> None:
        self._client = client
        self._fleet_name = fleet_name
        self._app_name = app_name
        self._generations = itertools.count(1)  # next() on it needs no lock

    def status(self) -> dict[str, Any]:
        """Return the client's status with a fleet of one."""
        status = dict(self._client.status().as_dict())
        host = socket.gethostname()
        worker = {
            "id": status["worker"],
            "host": host,
            "pid": os.getpid(),
            "current_cluster": status["current_cluster"],
            "epoch": status["epoch"],
        }
        name = self._fleet_name or f"{self._app_name}@{host}/{os.getppid()}"
        return status | {"fleet": {"name": name, "workers": [worker], "desired": None, "split": False}}

    def carry_out(self, wish: Wish) -> Outcome:
        """Move this process. Raises ``UnknownTarget`` or ``TargetUnreachable``: nothing has changed then."""
        status = self._client.status().as_dict()
        me = (status["worker"],)
        _refuse_unknown("worker", wish.workers or me, me)
        if wish.label is not None:
            _refuse_unknown("cluster", [wish.label], [cluster["label"] for cluster in status["clusters"]])
        try:
            if wish.label is None:
                self._client.reset()
            else:
                self._client.switch_to(wish.label)
        except (ClientOfflineException, HazelcastClientNotActiveError) as error:
            if wish.precondition is Precondition.ALL_CAN_REACH_IT:
                raise TargetUnreachable(str(error)) from error
            return Outcome(next(self._generations), told=me, done=(), missing=me)
        return Outcome(next(self._generations), told=me, done=me, missing=())


def _refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    valid = list(known)
    for name in given:
        if name not in valid:
            raise UnknownTarget(f"unknown {what} {name!r}; there is {', '.join(map(repr, valid))}")
