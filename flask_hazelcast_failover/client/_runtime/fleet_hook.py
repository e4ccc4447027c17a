"""What a client asks of the fleet of its process."""

from __future__ import annotations

from typing import Protocol

from .._official import OfficialClient

__all__ = ["FleetHook"]


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
