"""The reader of frames, without the faults of the official one, and with a limit for what it keeps."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from hazelcast.serialization import LE_LONG

from ..versions import unsupported_version
from .traffic import MeasuredConnection

try:
    from hazelcast.connection import _Reader
    from hazelcast.protocol.client_message import _CORRELATION_ID_OFFSET, SIZE_OF_FRAME_LENGTH_AND_FLAGS
except ImportError as error:
    raise ImportError(unsupported_version(["_Reader"])) from error

DEFAULT_LIMIT = 512 * 1024 * 1024
"""How large a message may be, bytes."""

# How many bytes a reader may keep after they were read, and before it looks at them.
_MAX_CONSUMED = _MAX_UNSEEN = 1 << 20
# How much of a first frame it takes to know the call.
_CORRELATION_END = _CORRELATION_ID_OFFSET + 8

# How long the rest of a first frame's beginning may take, seconds: it was sent together.
_ID_TIMEOUT = 0.5

TooLarge = Callable[[Any, "int | None", int], None]
"""Called with a connection, the correlation id of what came there if that is known, and its size, bytes."""


class TooLargeError(ValueError):
    """A message is larger than the limit; what came of it was not kept."""


class CheckedReader(_Reader):
    """The official ``_Reader`` without three faults.

    The official one loops forever at a frame shorter than its header; here that is an error. It keeps all bytes that it
    has read for as long as each read ends within a message, as under many events; here it frees them. And it keeps
    whatever a frame announces; here there is a limit, for a message and for all fragments of one.

    :param builder: gets the messages
    :param limit: bytes of one message
    :param on_too_large: called with the correlation id, if it is known, and the size of a message beyond the limit
    """

    def __init__(
        self,
        builder: Any,
        limit: int = DEFAULT_LIMIT,
        on_too_large: Callable[[int | None, int], None] = lambda *_: None,
    ) -> None:
        super().__init__(builder)  # type: ignore[no-untyped-call]
        self._limit = limit
        self._on_too_large = on_too_large
        # The size of a message beyond the limit while the bytes are awaited that say which call it answers.
        self.awaited_size = 0
        self._size = 0  # of the message that is being read, as announced so far
        # Fragmentation id -> the correlation id of the message, and the size of its fragments so far.
        self._fragmented: dict[int, tuple[int | None, int]] = {}

    def read(self, data: bytes) -> None:
        super().read(data)  # type: ignore[no-untyped-call]
        # The official loop reads for as long as something comes, and looks at it only then.
        if self.length > max(_MAX_UNSEEN, self._frame_size):
            self.process()

    def process(self) -> None:
        super().process()  # type: ignore[no-untyped-call]
        # Only when that frees more than it copies.
        if self._bytes_read > max(_MAX_CONSUMED, self.length):
            rest = self._buf.getbuffer()[self._bytes_read : self._bytes_written].tobytes()
            self._buf = io.BytesIO()
            self._buf.write(rest)
            self._bytes_read, self._bytes_written = 0, len(rest)

    def _read_message(self) -> Any:
        message = super()._read_message()  # type: ignore[no-untyped-call]
        if message is None:
            return None
        size, self._size = self._size, 0
        start = message.start_frame
        if not start.has_unfragmented_message_flags():
            number = message.get_fragmentation_id()
            correlation, before = self._fragmented.pop(number, (None, 0))
            if start.has_begin_fragment_flag() and start.next is not None:
                correlation, before = _long_in(start.next.buf, _CORRELATION_ID_OFFSET), 0
            if not start.has_end_fragment_flag():
                self._fragmented[number] = correlation, before + size
        return message

    def _read_frame(self) -> bool:
        if self._frame_size == -1:
            self.awaited_size = self._size_without_id()
            if self.awaited_size:
                return False
        return bool(super()._read_frame())  # type: ignore[no-untyped-call]

    def _size_without_id(self) -> int:
        """The announced size of a message beyond the limit of which too little came to know its call, else 0."""
        come = self.length - SIZE_OF_FRAME_LENGTH_AND_FLAGS
        if self._message is not None or not 0 <= come < _CORRELATION_END:
            return 0
        self._buf.seek(self._bytes_read)
        announced = int.from_bytes(self._buf.read(4), "little", signed=True)
        return announced if announced > self._limit else 0

    def _read_frame_size_and_flags(self) -> None:
        super()._read_frame_size_and_flags()  # type: ignore[no-untyped-call]
        if self._frame_size < 0:
            raise ValueError("a frame shorter than its own header came: this is no Hazelcast member")
        self._size += self._frame_size + SIZE_OF_FRAME_LENGTH_AND_FLAGS
        correlation, before = self._fragments_before()
        size = before + self._size
        if size > self._limit:
            if correlation is None:
                correlation = self._correlation_id()
            self._on_too_large(correlation, size)
            self._buf = io.BytesIO()
            raise TooLargeError(
                f"a message of {size:,} bytes or more came, max_message_size is {self._limit:,}"
            )

    def _fragments_before(self) -> tuple[int | None, int]:
        """What came of the fragmented message that the current one belongs to: its correlation id, and its size."""
        if not self._fragmented or self._message is None:
            return None, 0
        start = self._message.start_frame
        if start.has_unfragmented_message_flags() or start.has_begin_fragment_flag():
            return None, 0
        return self._fragmented.get(self._message.get_fragmentation_id(), (None, 0))

    def _correlation_id(self) -> int | None:
        """The current message's, if so much of it has come."""
        if self._message is None:
            return self._announced_id()
        start = self._message.start_frame
        if start.has_unfragmented_message_flags():
            return _long_in(start.buf, _CORRELATION_ID_OFFSET)
        if not start.has_begin_fragment_flag():
            return None
        return _long_in(start.next.buf, _CORRELATION_ID_OFFSET) if start.next else self._announced_id()

    def _announced_id(self) -> int | None:
        """That in the first bytes of the frame whose header was read last."""
        self._buf.seek(self._bytes_read)
        return _long_in(self._buf.read(_CORRELATION_END), _CORRELATION_ID_OFFSET)


def _long_in(buffer: bytes, offset: int) -> int | None:
    return int(LE_LONG.unpack_from(buffer, offset)[0]) if len(buffer) >= offset + 8 else None


class _CheckedConnection(MeasuredConnection):
    max_message_size = DEFAULT_LIMIT
    on_too_large: TooLarge
    _reader: CheckedReader

    def handle_read(self) -> None:  # type: ignore[override]
        super().handle_read()
        if self._reader.awaited_size:
            self._reactor.add_timer(_ID_TIMEOUT, self._await_no_longer)

    def _await_no_longer(self) -> None:
        if self.live and self._reader.awaited_size:
            self.on_too_large(self, None, self._reader.awaited_size)

    def create_socket(self, *kind: Any) -> None:
        # Nothing is read before this.
        self._reader = CheckedReader(self._builder, self.max_message_size, partial(self.on_too_large, self))
        super().create_socket(*kind)


def use_checked_reader(reactor: Any, limit: int, on_too_large: TooLarge) -> None:
    """Have new connections use ``CheckedReader``, and count their traffic.

    :param limit: bytes of one message; a connection on which a larger one comes is closed
    :param on_too_large: called on the reactor's thread
    """

    class Connection(_CheckedConnection):
        max_message_size = limit

    Connection.on_too_large = staticmethod(on_too_large)
    reactor.connection_factory = partial(Connection, reactor)
