"""A relay that decodes the messages of a client, and can drop or answer them in the member's place."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from tests.support.fake_servers import exception_reply

__all__ = ["CHECK", "PING", "ProtocolRelay", "Rule", "answering_error", "dropping"]

CHECK, PING = 0x080300, 0x000B00
"""Message types: of a health check, and of a ping."""

_FINAL = 1 << 13
_PROLOGUE = b"CP2"

Rule = Callable[[int, bytes], "bytes | None"]
"""Takes the type of a request and its correlation id; returns the answer, or ``None`` to forward the request."""


def dropping(*types: int) -> Rule:
    """Leave requests of these types unanswered."""
    return lambda type_, _: b"" if type_ in types else None


def answering_error(type_: int, code: int, class_name: str) -> Rule:
    """Answer requests of a type with an error."""
    reply = exception_reply(code, class_name)

    def answer(request: int, correlation: bytes) -> bytes | None:
        return None if request != type_ else reply[:10] + correlation + reply[18:]

    return answer


class ProtocolRelay:
    """Forwards to a member the requests that `rule` does not answer. A context manager like `Relay`.

    :param target: "host:port"
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.rule: Rule = lambda *_: None  # replaced as a whole by the test
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []  # under _lock

    def __enter__(self) -> ProtocolRelay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            ends = [self._listener, *self._open]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target, timeout=5)
                far.settimeout(None)
                with self._lock:
                    self._open += [near, far]
                sending = threading.Lock()
                for run in (self._to_member, self._to_client):
                    threading.Thread(target=run, args=(near, far, sending), daemon=True).start()

    def _to_client(self, near: socket.socket, far: socket.socket, sending: threading.Lock) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(65536):
                with sending:
                    near.sendall(data)
        _end(near, far)

    def _to_member(self, near: socket.socket, far: socket.socket, sending: threading.Lock) -> None:
        with contextlib.suppress(OSError):
            buffer = near.recv(3, socket.MSG_WAITALL)
            far.sendall(buffer)
            buffer = b""
            while data := near.recv(65536):
                buffer += data
                while message := _first_message(buffer):
                    buffer = buffer[len(message) :]
                    answer = self.rule(struct.unpack_from("<i", message, 6)[0], message[10:18])
                    if answer is None:
                        far.sendall(message)
                    elif answer:
                        with sending:
                            near.sendall(answer)
        _end(near, far)


def _first_message(buffer: bytes) -> bytes:
    """The first complete message; empty if there is none yet."""
    at = 0
    while len(buffer) >= at + 6:
        length, flags = struct.unpack_from("<iH", buffer, at)
        at += length
        if len(buffer) < at:
            break
        if flags & _FINAL:
            return buffer[:at]
    return b""


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
