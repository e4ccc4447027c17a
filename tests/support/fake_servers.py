"""TCP peers with behaviour that a real member does not have, or not on demand."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from hazelcast.config import Config
from hazelcast.protocol.codec import client_authentication_codec

from flask_hazelcast_failover.client._official import encode_authentication

__all__ = [
    "Behaviour",
    "Peer",
    "after_authenticating",
    "answering",
    "dropping_packets",
    "exception_reply",
    "hanging_up",
    "record_acceptance",
    "silent",
    "trickling",
    "unused_address",
    "with_status",
]

Behaviour = Callable[[socket.socket], None]
"""Handles a connection on a thread of its own; the connection is closed when it returns."""

_FRAME_HEADER = 6
_CORRELATION = slice(_FRAME_HEADER + 4, _FRAME_HEADER + 12)
_STATUS = _FRAME_HEADER + client_authentication_codec._RESPONSE_STATUS_OFFSET


class Peer:
    """Accepts connections on loopback inside its ``with`` block, and counts them.

    :param behaviour: called with each connection
    :param context: for TLS
    """

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self._behaviour = behaviour
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []  # under _lock
        self.times: list[float] = []  # of each connection, monotonic seconds; under _lock
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, name=f"peer {self.address}", daemon=True)

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        with self._lock:
            return len(self.times)

    def __enter__(self) -> Peer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.times.append(time.monotonic())
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        served = connection
        try:
            if self._context is not None:
                served = self._context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.append(served)
            self._behaviour(served)
        except OSError:
            pass  # the client has closed it, or the test has ended
        finally:
            with self._lock:
                for closing in {connection, served}:
                    if closing in self._open:
                        self._open.remove(closing)
            served.close()


def hanging_up(connection: socket.socket) -> None:
    """Close at once."""


def silent(connection: socket.socket) -> None:
    """Read everything and send nothing."""
    while connection.recv(65536):
        pass


def answering(data: bytes) -> Behaviour:
    """Send these bytes, whatever the request, and nothing more."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        silent(connection)

    return behave


def trickling(data: bytes, every: float) -> Behaviour:
    """Send these bytes one by one, repeatedly."""

    def behave(connection: socket.socket) -> None:
        while True:
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(every)

    return behave


def record_acceptance(address: str, cluster_name: str) -> bytes:
    """The response of a real member that accepts a client."""
    config = Config()
    config.cluster_name = cluster_name
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(encode_authentication(config, host, int(port)))
        return connection.recv(65536)


def with_status(acceptance: bytes, status: int) -> bytes:
    """The same response with another status."""
    return acceptance[:_STATUS] + bytes([status]) + acceptance[_STATUS + 1 :]


def after_authenticating(acceptance: bytes, then: Behaviour = silent) -> Behaviour:
    """Accept the client like a real member, then behave as ``then`` does."""

    def behave(connection: socket.socket) -> None:
        request = b""
        while len(request) < 3 + _CORRELATION.stop:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        correlation = request[3:][_CORRELATION]
        connection.sendall(acceptance[: _CORRELATION.start] + correlation + acceptance[_CORRELATION.stop :])
        then(connection)

    return behave


def exception_reply(error_code: int, class_name: str) -> bytes:
    """A member's response with an error, in Hazelcast's protocol."""
    final, begin, end, null = 1 << 13, 1 << 12, 1 << 11, 1 << 10

    def frame(content: bytes, flags: int = 0) -> bytes:
        return (len(content) + _FRAME_HEADER).to_bytes(4, "little") + flags.to_bytes(2, "little") + content

    header = (0).to_bytes(4, "little") + (1).to_bytes(8, "little") + b"\x00"
    return b"".join(
        (
            frame(header, 0xC000),
            frame(b"", begin),
            frame(b"", begin),
            frame(error_code.to_bytes(4, "little")),
            frame(class_name.encode()),
            frame(b"", null),
            frame(b"", begin),
            frame(b"", end),
            frame(b"", end),
            frame(b"", end | final),
        )
    )


@contextlib.contextmanager
def dropping_packets(until: float = math.inf) -> Iterator[str]:
    """An address that does not answer a connection for ``until`` seconds: its backlog is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        if until < math.inf:
            emptying = threading.Timer(until, _empty, (listener, stack))
            emptying.start()
            stack.callback(emptying.cancel)
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def _empty(listener: socket.socket, taken: contextlib.ExitStack) -> None:
    """Accept the connections in a backlog, which makes room for others."""
    listener.settimeout(0.05)
    with contextlib.suppress(TimeoutError):
        while True:
            taken.enter_context(listener.accept()[0])


def unused_address() -> str:
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"
