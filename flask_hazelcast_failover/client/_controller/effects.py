"""The seam between deciding and doing: what the controller has done for it.

``engine.Engine`` does it on real clusters; a test does it with a clock and clusters of its own.
"""

from __future__ import annotations

from typing import Protocol

from flask_hazelcast_failover.client._controller.cluster import LinkView
from flask_hazelcast_failover.client._controller.messages import SwitchRequest
from flask_hazelcast_failover.client._known_cluster import KnownCluster
from flask_hazelcast_failover.client.events import Event
from flask_hazelcast_failover.client.status import ClientStatus

__all__ = ["Effects"]


class Effects(Protocol):
    """What the controller has done for it. Nothing here blocks."""

    def now(self) -> float:
        """The time, monotonic seconds."""

    def chance(self) -> float:
        """A random number from 0 to 1."""

    def dial(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        """Begin an attempt at a cluster, of which ``known`` was last known; ends with ``AttemptEnded``."""

    def scout(self, index: int, confirmed: int) -> None:
        """Open a second link to where a cluster's name leads now; ends with ``Scouted``, which repeats ``confirmed``."""

    def resolve(self, index: int) -> None:
        """Look a cluster's name up again; ends with ``Resolved``."""

    def prepare(self, link: LinkView) -> None:
        """Make proxies and register listeners on a link; ends with ``Prepared``."""

    def ask_ready(self, link: LinkView) -> None:
        """Run the ready check on a link; ends with ``ReadyAnswered``."""

    def suspend(self) -> None:
        """Let operations wait."""

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        """Send operations to a link, and let everybody see it in the same moment."""

    def offline(self, why: str) -> None:
        """Let operations fail at once."""

    def leave(self, link: LinkView) -> None:
        """Take listeners off a link and let operations on it finish; ends with ``Drained``."""

    def discard(self, link: LinkView) -> None:
        """End the operations on a link and close it."""

    def show(self, status: ClientStatus) -> None:
        """Let everybody see how things stand."""

    def announce(self, event: Event, why: str = "") -> None:
        """Tell subscribers; ``why`` is for the log."""

    def answer(self, wish: SwitchRequest, error: Exception | None) -> None:
        """Tell whoever waits how their wish ended."""
