"""Bounds the body of a request: what is too long is refused without being read."""

from __future__ import annotations

import io
from typing import IO, Any, cast

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

MAX_BODY = 64 * 1024
"""The length of the longest body, in bytes."""


def bound_body(request: Request) -> None:
    """Make reading a body that is too long raise ``RequestEntityTooLarge``, also where its length is not declared.

    Comes before anything reads the body, such as a function of the app that signs a user in.
    """
    declared, limit = request.content_length, _limit(request)
    if declared is not None:
        if declared > limit:
            request.stream = _bounded(io.BytesIO(), 0, limit)
    elif request.environ.get("wsgi.input_terminated"):  # without it werkzeug reads nothing
        # Not the stream that werkzeug would make for MAX_CONTENT_LENGTH: that cuts silently.
        request.stream = _bounded(request.environ["wsgi.input"], limit + 1, limit)


def refuse_long_body(request: Request) -> None:
    """Raise ``RequestEntityTooLarge`` if the declared length is too long. Reads nothing."""
    if (request.content_length or 0) > _limit(request):
        raise _too_long(_limit(request))


def read_body(request: Request) -> bytes:
    """The body.

    :raises RequestEntityTooLarge: it is too long
    """
    content = request.get_data()
    if len(content) > _limit(request):  # the app has read it before
        raise _too_long(_limit(request))
    return content


def _limit(request: Request) -> int:
    """The app's own limit, MAX_CONTENT_LENGTH, counts if it is lower."""
    own = request.max_content_length
    return MAX_BODY if own is None else min(own, MAX_BODY)


def _too_long(limit: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"The body is too long: {limit:,} bytes are allowed.")


def _bounded(stream: IO[bytes], allowed: int, limit: int) -> IO[bytes]:
    return cast("IO[bytes]", _BoundedStream(stream, allowed, limit))


class _BoundedStream(io.RawIOBase):
    """Raises once it has read all that it may.

    :param allowed: how many bytes it may read, which is one more than a body may have
    """

    def __init__(self, stream: IO[bytes], allowed: int, limit: int) -> None:
        self._stream = stream
        self._left = allowed
        self._limit = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(min(len(buffer), self._left)) if self._left else b""
        self._left -= len(data)
        if self._left <= 0:
            raise _too_long(self._limit)
        buffer[: len(data)] = data
        return len(data)
