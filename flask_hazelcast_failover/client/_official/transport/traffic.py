"""Connections that count their traffic: bytes received, sent to the kernel, and acknowledged by the peer."""

from __future__ import annotations

import struct
import sys
from typing import Any

from ..versions import unsupported_version
from .clock import MonotonicConnection, now

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

# How long a member may take to answer the authentication, seconds.
_AUTHENTICATION_TIMEOUT = 5.0
# On other systems the request has another meaning.
_HAS_SIOCOUTQ = sys.platform == "linux" and _SIOCOUTQ != 0


class TrackedMessage(bytearray):
    """An outgoing message that knows where in the connection's stream it ends.

    ``end``: ``None`` until the message is passed to the kernel. Written once, by the reactor's thread.
    """

    end: int | None = None


class MeasuredConnection(MonotonicConnection):
    """An official connection with counters. The reactor's thread writes them, others only read."""

    received = 0
    sent = 0
    _acknowledged_before = 0

    def handle_connect(self) -> None:
        super().handle_connect()  # type: ignore[no-untyped-call]
        self._reactor.add_timer(_AUTHENTICATION_TIMEOUT, self._close_unless_authenticated)

    def _close_unless_authenticated(self) -> None:
        """The official client waits without a limit, and does not try this member again meanwhile."""
        if self.live and self.remote_uuid is None:
            self.close_connection("Not authenticated in time", None)  # type: ignore[no-untyped-call]

    def acknowledged(self) -> int:
        """How many bytes of the stream the peer's kernel has; on systems other than Linux, how many ours has taken.

        Too low for TLS, never too high: the kernel's queue includes the overhead of the encryption.
        """
        sent = self.sent
        if not _HAS_SIOCOUTQ:
            return sent
        try:
            queued = fcntl.ioctl(self.socket.fileno(), _SIOCOUTQ, b"\0\0\0\0")  # type: ignore[union-attr]
            (unacknowledged,) = struct.unpack("i", queued)
        except (OSError, ValueError):  # closed meanwhile
            return sent
        return max(0, sent - int(unacknowledged))

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
            # A view, or a large message would be copied for each piece that the kernel takes.
            self._write_queue.appendleft(memoryview(data)[sent:])

    def _next_bytes(self) -> Any:
        """Take as many messages off the queue as the kernel may take at once."""
        queue, batch, length = self._write_queue, [], 0
        while queue and length < self.send_buffer_size:
            message = queue.popleft()
            length += len(message)
            if isinstance(message, TrackedMessage):
                message.end = self.sent + length
            batch.append(message)
        return batch[0] if len(batch) == 1 else b"".join(batch)

    def is_uploading(self) -> bool:
        """Whether the peer has acknowledged bytes since the last call, and has not acknowledged all."""
        acknowledged, before = self.acknowledged(), self._acknowledged_before
        self._acknowledged_before = acknowledged
        return acknowledged > before and (bool(self._write_queue) or acknowledged < self.sent)


def allow_slow_uploads(heartbeats: Any) -> None:
    """Keep connections open while an upload makes progress.

    The official ``_HeartbeatManager`` closes them: during a slow upload nothing comes back.
    """
    official = heartbeats._check_connection

    def check(now: float, connection: MeasuredConnection) -> None:
        if connection.is_uploading():
            connection.last_read_time = now  # type: ignore[assignment]
        official(now, connection)

    heartbeats._check_connection = check
