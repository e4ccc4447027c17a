"""The official client's view of its cluster (members, partition table), taken from a member that responds.

The official client gets the view over one connection, for as long as that is open. A frozen member sends none. When it
runs again after its cluster has removed it, it sends a view of itself alone, and the client would disconnect from the
others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

_random = random.SystemRandom()


class ClusterView:
    """Patches an official ``ClusterViewListenerService``. Has to be made before the client connects."""

    def __init__(self, client: Any) -> None:
        self._listener = client._cluster_view_listener
        self._connections = client._connection_manager
        self._add_timer = client._reactor.add_timer
        self._official_handler = self._listener._handler
        self._listener._handler = self._handler

    def use_other_member(self, silent: Collection[UUID]) -> None:
        """Take the view from another member if it comes from one of these. Does not wait."""
        if self._source() in silent:
            self._add_timer(0.0, lambda: self._register_with_other(silent))

    def _source(self) -> UUID | None:
        connection = self._listener._listener_added_connection
        source: UUID | None = connection.remote_uuid if connection is not None else None
        return source

    def _register_with_other(self, silent: Collection[UUID]) -> None:
        """On the reactor's thread, like the official registration after a connection has closed."""
        connections = self._connections.active_connections.copy()
        others = [connection for uuid, connection in connections.items() if uuid not in silent]
        if others and self._source() in silent:
            self._listener._listener_added_connection = None
            self._listener._try_register(_random.choice(others))

    def _handler(self, connection: Any) -> Callable[[Any], None]:
        """Replaces the official handler, which takes views over any connection that it was registered on."""
        handle = self._official_handler(connection)

        def handle_from_source(message: Any) -> None:
            if self._listener._listener_added_connection is connection:
                handle(message)

        return handle_from_source
