"""The events of a client: one frozen value for each thing that happened.

Clusters are given by label, times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

__all__ = [
    "AddressesChanged",
    "ClusterConnected",
    "ClusterLost",
    "ClusterRecovered",
    "ClusterSwitched",
    "ClustersExhausted",
    "Event",
    "FleetSplit",
    "Reason",
]


class Reason(str, Enum):
    """Why a cluster was lost or left. Each member equals its text: ``reason == "manual"``."""

    CONNECTION_LOST = "connection-lost"
    HEALTH_CHECK = "health-check"
    DNS = "dns"
    MANUAL = "manual"
    FAILBACK = "failback"
    FLEET = "fleet"

    __str__ = str.__str__


@dataclass(frozen=True)
class ClusterConnected:
    """A cluster can be used: operations go to it (``active``) or it stands by."""

    cluster: str
    active: bool


@dataclass(frozen=True)
class ClusterLost:
    """A cluster can no longer be used."""

    cluster: str
    active: bool
    reason: Reason


@dataclass(frozen=True)
class ClusterSwitched:
    """Operations go to another cluster than before.

    ``duration`` is how long operations had nowhere to go. ``fleet_first`` is true in one process
    of a fleet, so that one alert goes out.
    """

    previous: str
    current: str
    reason: Reason
    duration: float
    epoch: int
    fleet_first: bool = True


@dataclass(frozen=True)
class ClustersExhausted:
    """No cluster can be reached; ``errors`` says why for each label."""

    errors: Mapping[str, str]


@dataclass(frozen=True)
class ClusterRecovered:
    """A lost cluster can be used again, after ``downtime`` seconds."""

    cluster: str
    downtime: float


@dataclass(frozen=True)
class AddressesChanged:
    """The name of a CNAME cluster leads to other addresses (``host:port``) than before."""

    cluster: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class FleetSplit:
    """The processes of a fleet are on more than one cluster; ``workers`` counts them by label."""

    fleet: str
    workers: Mapping[str, int]


Event: TypeAlias = (
    ClusterConnected
    | ClusterLost
    | ClusterSwitched
    | ClustersExhausted
    | ClusterRecovered
    | AddressesChanged
    | FleetSplit
)
