"""The seam between deciding and doing: what the controller has done for it, and what it knows of a link.

``_runtime.effects.ClusterEffects`` does it on real clusters; a test does it with a scripted clock and scripted clusters.
"""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from .._known_cluster import KnownCluster
from ..events import Event
from ..status import ClientStatus


class Effects(Protocol):
    """What the controller has done for it. Nothing here blocks."""

    def now(self) -> float:
        """The time, monotonic seconds."""

    def random(self) -> float:
        """A random number from 0 to 1."""

    def start_attempt(self, index: int, attempt: int, known: KnownCluster | None) -> None:
        """Begin an attempt at a cluster, of which ``known`` was last known; ends with ``AttemptEnded``."""

    def verify_addresses(self, index: int, own_answers: int) -> None:
        """Open a second link to where a cluster's name leads now; ends with ``AddressesVerified``, if it can."""

    def resolve(self, index: int) -> None:
        """Look a cluster's name up; ends with ``Resolved``."""

    def prepare(self, link: LinkView) -> None:
        """Make proxies and register listeners on a link; ends with ``Prepared``."""

    def ask_ready(self, link: LinkView) -> None:
        """Run the ready check on a link; ends with ``ReadyAnswered``."""

    def suspend(self) -> None:
        """Let operations wait."""

    def publish(self, link: LinkView, status: ClientStatus) -> None:
        """Send operations to a link, and show ``status`` in the same moment."""

    def go_offline(self, why: str) -> None:
        """Let operations fail at once, with ``why`` as the message."""

    def drain(self, link: LinkView) -> None:
        """Take listeners off a link and let operations on it finish; ends with ``Drained``."""

    def close(self, link: LinkView) -> None:
        """End the operations on a link and close it."""

    def set_status(self, status: ClientStatus) -> None:
        """Show how things stand."""

    def announce(self, event: Event, why: str = "") -> None:
        """Tell subscribers; ``why`` is for the log."""


class LinkView(Protocol):
    """An open connection to one cluster. The three numbers are written by the controller, before it is published."""

    epoch: int
    """Counts the times that operations were sent to a link."""
    data_id: int
    """The same number means: the same cluster with the same data."""
    visit_id: int
    """The same number means, in addition: operations have gone to no other data in between."""

    def known_cluster(self) -> KnownCluster:
        """The cluster as it is now, to be found again."""

    def members(self) -> frozenset[UUID]:
        """The members that the cluster says it has."""

    def member_addresses(self) -> frozenset[str]:
        """The addresses of these members, "host:port"."""

    def is_connected(self) -> bool:
        """Whether a connection to at least one member is open."""
