"""The answer to a readiness probe."""

from __future__ import annotations

from enum import Enum

from ..client import HazelcastClient


class Health(str, Enum):
    """Whether this process can serve."""

    OK = "ok"
    DEGRADED = "degraded"
    IDLE = "idle"
    DOWN = "down"

    __str__ = str.__str__


def health_of(client: HazelcastClient) -> Health:
    """The health of this process. An idle client starts connecting, so that the next probe knows more."""
    status = client.status().as_dict()
    state = status["state"]
    if state == "idle":
        client.control.connect_soon()
        return Health.IDLE
    if state == "switching":
        # Operations wait. Before the first connection nothing has been lost.
        return Health.DEGRADED if status["epoch"] else Health.IDLE
    if state == "connected":
        return Health.OK if status["on_primary"] else Health.DEGRADED
    return Health.DOWN
