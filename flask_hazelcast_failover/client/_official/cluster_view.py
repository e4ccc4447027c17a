"""Who tells a client who is in the cluster and who owns which partition: a member that answers, and nobody else.

The official client hears that over one connection, for as long as it is open. A member that is frozen tells
nothing. Put out of its cluster and frozen no more, it tells of itself alone, and the client would leave the others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

__all__ = ["ClusterView"]

_chance = random.SystemRandom()


class ClusterView:
    """What an official client is told of its cluster. To be made before it connects."""

    def __init__(self, client: Any) -> None:
        self._listener = client._cluster_view_listener
        self._connections = client._connection_manager
        self._add_timer = client._reactor.add_timer
        self._handler = self._listener._handler
        self._listener._handler = self._heard_over

    def hear_from_others(self, than: Collection[UUID]) -> None:
        """Have another member tell of the cluster if one of these does. Waits for nothing."""
        if self._told_by() in than:
            self._add_timer(0.0, lambda: self._ask_another(than))

    def _told_by(self) -> UUID | None:
        connection = self._listener._listener_added_connection
        told_by: UUID | None = connection.remote_uuid if connection is not None else None
        return told_by

    def _ask_another(self, than: Collection[UUID]) -> None:
        """On the reactor's thread, like what the official client does when a connection closes."""
        connections = self._connections.active_connections.copy()
        others = [connection for uuid, connection in connections.items() if uuid not in than]
        if others and self._told_by() in than:
            self._listener._listener_added_connection = None
            self._listener._try_register(_chance.choice(others))

    def _heard_over(self, connection: Any) -> Callable[[Any], None]:
        handle = self._handler(connection)

        def heard(message: Any) -> None:
            if self._listener._listener_added_connection is connection:
                handle(message)

        return heard
