"""How a status is judged: the exit code of a command, and the sentence that explains it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes, as Nagios reads them: well, degraded, and down or refused."""

    OK = 0
    DEGRADED = 1
    DOWN = 2

    @property
    def colour(self) -> str:
        """The colour of its sentence."""
        return {ExitCode.OK: "green", ExitCode.DEGRADED: "yellow", ExitCode.DOWN: "red"}[self]


def verdict(status: Mapping[str, Any], fleet: str | None) -> tuple[ExitCode, str]:
    """Judge the processes of a named fleet, or else this command's own connection."""
    if status["state"] != "connected":
        return ExitCode.DOWN, str(status.get("why", f"the client is {status['state']}"))
    primary, current = status["clusters"][0]["label"], status["current_cluster"]
    places = _places(status, fleet)
    if not places:
        if fleet is not None:
            return ExitCode.DEGRADED, f"no process of fleet {fleet} can be found; {current} can be reached"
        if current == primary:
            return ExitCode.OK, f"{current} (primary) can be reached"
        return ExitCode.DEGRADED, f"only {current} can be reached, not {primary} (primary)"
    counts = ", ".join(f"{places.count(place)} on {place or 'none'}" for place in dict.fromkeys(places))
    sentence = f"fleet {status['fleet']['name']}: {counts}; {primary} is primary"
    if all(place is None for place in places):
        return ExitCode.DOWN, sentence
    return ExitCode.OK if set(places) == {primary} else ExitCode.DEGRADED, sentence


def usual_cluster(status: Mapping[str, Any], fleet: str | None) -> str | None:
    """The cluster that most processes of a named fleet are on, or else the one that this command is connected to."""
    current: str | None = status["current_cluster"]
    return statistics.mode([place for place in _places(status, fleet) if place is not None] or [current])


def _places(status: Mapping[str, Any], fleet: str | None) -> list[str | None]:
    workers = status["fleet"]["workers"] if fleet is not None else []
    return [worker["current_cluster"] for worker in workers]
