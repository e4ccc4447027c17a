"""What becomes of a message that is larger than ``max_message_size``: its call fails, and its connection is replaced."""

from __future__ import annotations

import logging
from typing import Any

from hazelcast.lifecycle import LifecycleState

from ...errors import MessageTooLarge

_logger = logging.getLogger("flask_hazelcast_failover.client")


class OversizedMessages:
    """Handles them for one official client, on its reactor's thread.

    The connection has to be closed: the rest of the message would have to be read to get to the next one. That is no
    loss of the cluster, so the connection is opened again, also if it was the last one.

    :param client: the official client
    :param limit: bytes of one message
    """

    def __init__(self, client: Any, limit: int) -> None:
        self._client = client
        self._limit = limit
        self.is_reopening = False  # written by the reactor's thread, read by others

    def on_message(self, connection: Any, correlation_id: int | None, size: int) -> None:
        """A message beyond the limit begins."""
        what = f"an answer of {size:,} bytes or more came, and max_message_size is {self._limit:,}"
        _logger.warning("%s: %s; its connection is opened again", connection.remote_address, what)
        # Out of reach of those who fail the calls of a closed connection.
        invocations = self._client._invocation_service
        invocation = invocations._pending.pop(correlation_id, None)
        member = self._to_reopen(connection)
        if member is not None:
            self.is_reopening = True
            self._client._reactor.add_timer(0, lambda: self._reopen(member))
        # Before the call fails: what its caller does next must not be sent there.
        connection.close_connection(what, None)
        if invocation is not None:
            error = MessageTooLarge(f"{what}; it was not read, and the operation is not repeated")
            invocations._complete_with_error(invocation, error)

    def _to_reopen(self, connection: Any) -> Any | None:
        """The member to connect to again, if its connection is the last one; else the official client does that."""
        open_ones = self._client._connection_manager.active_connections
        others = [one for one in list(open_ones.values()) if one is not connection]
        if others or open_ones.get(connection.remote_uuid) is not connection or self.is_reopening:
            return None
        return self._client._internal_cluster_service.get_member(connection.remote_uuid)

    def _reopen(self, member: Any) -> None:
        try:
            connecting = self._client._connection_manager._get_or_connect_to_member(member)
            connecting.add_done_callback(lambda _: self._reopened())
        except Exception:
            self._reopened()

    def _reopened(self) -> None:
        self.is_reopening = False
        if not self._client._connection_manager.active_connections:
            # Whoever heard of the closed connection has waited for this.
            self._client._connection_manager._lifecycle_service.fire_lifecycle_event(
                LifecycleState.DISCONNECTED
            )
