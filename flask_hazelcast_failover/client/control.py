"""The seam between a client and the rest of the package, above all the fleet of its process."""

from __future__ import annotations

from typing import Any, Protocol

from ._official import OfficialClient, wait_for_all
from .events import Event, Reason

__all__ = ["ClientControl", "FleetHook", "OfficialClient", "wait_for_all"]


class FleetHook(Protocol):
    """What a client asks of its fleet. Called from threads of the client's and from those that use it."""

    def switch_fleet(self, index: int, *, holds: bool) -> None:
        """Carry out ``switch_to()`` or ``reset()``, for this process and for the others.

        :param index: the cluster's place in the order of priority
        :param holds: whether to stay there, without automatic failback
        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """

    def preferred(self, label: str, client: OfficialClient) -> str | None:
        """Where to go first, asked of the first connections before they are used.

        :param label: of the cluster that was connected to
        :param client: the connection, nobody else's yet
        :return: a cluster's label, or ``None`` for the best that can be reached
        """

    def deregister(self, timeout: float) -> None:
        """The client shuts down: be gone for the other processes. Takes ``timeout`` seconds at most."""


class ClientControl(Protocol):
    """What the rest of the package does with a client. Apps need none of it."""

    def attach(self, hook: FleetHook) -> None:
        """Have ``hook`` carry out ``switch_to()`` and ``reset()``. To be called before the first use."""

    def connect_soon(self) -> None:
        """Start connecting, if nothing has yet, and do not wait for it."""

    def connected_clusters(self) -> dict[str, OfficialClient]:
        """The open official clients by label: of the active cluster and of those that stand by."""

    def try_to_connect(self, index: int) -> None:
        """Open a connection to a cluster and close it again; nothing else changes.

        :param index: the cluster's place in the order of priority
        :raises ClientOfflineException: it cannot be reached
        """

    def switch(self, index: int, reason: Reason, *, holds: bool) -> None:
        """Switch this process's client, whatever the others of its fleet do.

        :param index: the cluster's place in the order of priority
        :param reason: what to give as the reason
        :param holds: whether to stay there, without automatic failback
        :raises ClientOfflineException: it cannot be reached, and nothing has changed
        """

    def get_plain_map(self, name: str) -> Any:
        """A map that the package keeps for itself; does not touch the network.

        Its proxy follows the client like any other. It reads strings and byte arrays only, and gives anything else as
        the official ``Data``, as which it can be passed back: nothing that others have written runs code here.
        """

    def announce(self, event: Event, why: str = "") -> None:
        """Pass an event on to the subscribers, in order; ``why`` is for the log."""
