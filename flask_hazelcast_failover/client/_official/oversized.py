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
        """A message beyond the limit begins; right after this the connection is closed."""
        message = (
            f"an answer of {size:,} bytes or more came, and max_message_size is {self._limit:,}; it was not read,"
            " and the operation is not repeated"
        )
        _logger.warning(
            "%s: %s; its connection is opened again", connection.remote_address, message.partition(";")[0]
        )
        invocations = self._client._invocation_service
        invocation = invocations._pending.get(correlation_id)
        if invocation is not None:
            invocations._complete_with_error(invocation, MessageTooLarge(message))
        manager = self._client._connection_manager
        others = [one for one in list(manager.active_connections.values()) if one is not connection]
        is_open = manager.active_connections.get(connection.remote_uuid) is connection
        if others or not is_open or self.is_reopening:
            return  # the official client connects to the member again
        member = self._client._internal_cluster_service.get_member(connection.remote_uuid)
        if member is not None:
            self.is_reopening = True
            self._client._reactor.add_timer(0, lambda: self._reopen(member))

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
