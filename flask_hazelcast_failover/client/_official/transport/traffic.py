"""What has gone over a connection: bytes that came, bytes that the kernel took, bytes that the peer acknowledged."""

from __future__ import annotations

import struct
import sys
from typing import Any

from flask_hazelcast_failover.client._official.transport.clock import SteadyConnection, now
from flask_hazelcast_failover.client._official.versions import unsupported_version

try:
    from hazelcast.reactor import _RETRYABLE_ERROR_CODES
except ImportError as error:
    raise ImportError(unsupported_version(["_RETRYABLE_ERROR_CODES"])) from error

try:
    import fcntl
    import termios
except ImportError:  # no Unix
    _SIOCOUTQ = 0
else:
    _SIOCOUTQ = termios.TIOCOUTQ  # of a socket it is the same number

__all__ = ["MeasuredConnection", "TrackedMessage", "excuse_uploads"]

# How long a member that takes a connection has to answer the authentication, seconds.
_AUTHENTICATION = 5.0
# Elsewhere the request has other meanings.
_KERNEL_TELLS = sys.platform == "linux" and _SIOCOUTQ != 0


class TrackedMessage(bytearray):
    """An outgoing message of which it is known where in the stream it ends.

    ``end`` is ``None`` until the message is handed to the kernel; written once, by the reactor's thread.
    """

    end: int | None = None


class MeasuredConnection(SteadyConnection):
    """An official connection that counts. The counters belong to the reactor's thread; others only read them."""

    received = 0
    sent = 0
    _acknowledged_before = 0

    def handle_connect(self) -> None:
        super().handle_connect()  # type: ignore[no-untyped-call]
        self._reactor.add_timer(_AUTHENTICATION, self._close_unless_authenticated)

    def _close_unless_authenticated(self) -> None:
        """The official client waits without end, and asks a member whose answer is missing never again."""
        if self.live and self.remote_uuid is None:
            self.close_connection("Not authenticated in time", None)  # type: ignore[no-untyped-call]

    def acknowledged(self) -> int:
        """How many bytes of the stream the peer's kernel has; where the system cannot say, how many ours took.

        Of a TLS connection it is too few rather than too many: the kernel counts what encryption adds.
        """
        sent = self.sent
        if not _KERNEL_TELLS:
            return sent
        try:
            answer = fcntl.ioctl(self.socket.fileno(), _SIOCOUTQ, b"\0\0\0\0")  # type: ignore[union-attr]
            (waiting,) = struct.unpack("i", answer)
        except (OSError, ValueError):  # closed meanwhile
            return sent
        return max(0, sent - int(waiting))

    def recv(self, buffer_size: int) -> bytes:
        data: bytes = super().recv(buffer_size)
        self.received += len(data)
        return data

    def handle_write(self) -> None:
        data = self._next_bytes()
        try:
            sent = self.send(data)
        except OSError as error:
            if error.args[0] in _RETRYABLE_ERROR_CODES:
                self._write_queue.appendleft(data)
            else:
                self.close_connection(None, error)  # type: ignore[no-untyped-call]
            return
        self.last_write_time = now()  # type: ignore[assignment]
        self.sent_protocol_bytes = True
        self._reactor.bytes_sent += sent
        self.sent += sent
        if sent < len(data):
            # No copy: a large message would be copied once for each piece that the kernel takes.
            self._write_queue.appendleft(memoryview(data)[sent:])

    def _next_bytes(self) -> Any:
        """Take messages off the queue, as many as the kernel may take at once."""
        queue, batch, length = self._write_queue, [], 0
        while queue and length < self.send_buffer_size:
            message = queue.popleft()
            length += len(message)
            if isinstance(message, TrackedMessage):
                message.end = self.sent + length
            batch.append(message)
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def is_uploading(self) -> bool:
        """Whether the peer has taken bytes since this was asked last, and has more to take."""
        acknowledged, before = self.acknowledged(), self._acknowledged_before
        self._acknowledged_before = acknowledged
        return acknowledged > before and (bool(self._write_queue) or acknowledged < self.sent)


def excuse_uploads(heartbeats: Any) -> None:
    """Have heartbeats not end a connection over which nothing comes because a slow upload goes on."""
    official = heartbeats._check_connection

    def check(moment: float, connection: MeasuredConnection) -> None:
        if connection.is_uploading():
            connection.last_read_time = moment  # type: ignore[assignment]
        official(moment, connection)

    heartbeats._check_connection = check
