"""What a client shows of itself: frozen values, ready to become JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from .events import ClusterSwitched, Reason

__all__ = ["ClientStatus", "ClusterStatus", "Condition", "State", "Switch"]


class State(str, Enum):
    """What the client is doing."""

    IDLE = "idle"
    CONNECTED = "connected"
    SWITCHING = "switching"
    OFFLINE = "offline"
    CLOSED = "closed"

    __str__ = str.__str__


class Condition(str, Enum):
    """What a client's connection to one cluster is."""

    ACTIVE = "active"
    STANDBY = "standby"
    CONNECTING = "connecting"
    DOWN = "down"
    IDLE = "idle"

    __str__ = str.__str__


@dataclass(frozen=True)
class ClusterStatus:
    """One cluster as this client sees it; ``members`` is how many, ``index`` its place in order."""

    label: str
    cluster_name: str
    index: int
    priority: int
    addresses: tuple[str, ...]
    members: int
    state: Condition
    impaired: bool
    restarted: bool
    latency_ms: float | None
    last_error: str | None


@dataclass(frozen=True)
class Switch:
    """A switch that has taken place; ``at`` is ISO 8601 in UTC, ``duration`` in seconds."""

    at: str
    previous: str
    current: str
    reason: Reason
    duration: float
    epoch: int

    @classmethod
    def of(cls, event: ClusterSwitched) -> Switch:
        """The record of a switch that has taken place just now."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        duration = round(event.duration, 6)
        return cls(at, event.previous, event.current, event.reason, duration, event.epoch)


@dataclass(frozen=True)
class ClientStatus:
    """A client at one moment; ``history`` has the last 100 switches, newest last."""

    worker: str
    state: State
    current_cluster: str | None
    current_index: int | None
    on_primary: bool
    epoch: int
    clusters: tuple[ClusterStatus, ...]
    history: tuple[Switch, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
