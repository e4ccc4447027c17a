"""JSON with tags for types that JSON lacks. Unlike with pickle, loading it runs no code.

A value that is not plain JSON becomes an object with one member, whose name is a tag that begins with ``~``.
Instances of subclasses of plain types are loaded as these types.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from flask import Response
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response as AnyResponse

__all__ = ["SafeSerializer", "Serializer"]


class Serializer(Protocol):
    """Converts values to bytes and back, as the serializers of cachelib do."""

    def dumps(self, value: Any) -> bytes | None:
        """The stored form; ``None`` for a value that cannot be stored."""
        ...

    def loads(self, stored: bytes, /) -> Any:
        """The value."""
        ...


class SafeSerializer:
    """Stores None, bool, int, float, str, bytes, list, tuple, set, dict (with any of these as keys), dates and
    times, Decimal, UUID, Markup, complete responses and plain HTTP errors. Loading never runs code.
    """

    def dumps(self, value: Any) -> bytes:
        """The stored form.

        :raises TypeError: for a value of another type
        """
        return json.dumps(_tagged(value), separators=(",", ":")).encode()

    def loads(self, stored: bytes) -> Any:
        """The value.

        :raises ValueError: it is not the output of ``dumps``
        """
        try:
            return json.loads(stored, object_hook=_untagged)
        except (TypeError, LookupError, ArithmeticError) as error:
            raise ValueError(f"not the stored form of a value: {error}") from error


class _Tag(NamedTuple):
    name: str
    kind: type[Any]
    encode: Callable[[Any], Any]  # returns what JSON can hold, except that nested values are not tagged yet
    decode: Callable[[Any], Any]


def _pairs(values: Iterable[Any]) -> dict[Any, Any]:
    return {key: value for key, value in values}  # noqa: C416 - unlike dict(), requires pairs


def _encode_response(response: AnyResponse) -> list[Any]:
    if response.is_streamed or response.direct_passthrough:
        raise TypeError("cannot store a response that is streamed: only one whose body is complete")
    return [response.status, [list(header) for header in response.headers], response.get_data()]


def _decode_response(parts: list[Any]) -> Response:
    status, headers, body = parts
    return Response(body, status, [(name, value) for name, value in headers])


def _encode_http_error(error: HTTPException) -> list[Any]:
    code = error.code or 0
    extra = {name for name, value in vars(error).items() if value is not None} - {"description"}
    if type(error) is not default_exceptions.get(code) or extra:
        raise TypeError(f"cannot store {error!r}: it has more than a status and a description")
    return [code, error.description]


def _decode_http_error(parts: list[Any]) -> HTTPException:
    code, description = parts
    return default_exceptions[code](description)


# Subclasses before their base classes.
_TAGS = (
    _Tag("~markup", Markup, str, Markup),
    _Tag("~bytes", bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    _Tag("~tuple", tuple, list, tuple),
    _Tag("~set", set, list, set),
    _Tag("~frozenset", frozenset, list, frozenset),
    _Tag("~datetime", datetime, datetime.isoformat, datetime.fromisoformat),
    _Tag("~date", date, date.isoformat, date.fromisoformat),
    _Tag("~time", time, time.isoformat, time.fromisoformat),
    _Tag("~timedelta", timedelta, lambda v: [v.days, v.seconds, v.microseconds], lambda v: timedelta(*v)),
    _Tag("~decimal", Decimal, str, Decimal),
    _Tag("~uuid", UUID, str, UUID),
    _Tag("~response", AnyResponse, _encode_response, _decode_response),
    _Tag("~http-error", HTTPException, _encode_http_error, _decode_http_error),
)
_DICT = "~dict"
_DECODERS: dict[str, Callable[[Any], Any]] = {tag.name: tag.decode for tag in _TAGS} | {_DICT: _pairs}


def _tagged(value: Any) -> Any:
    if type(value) in (str, int, float, bool, type(None)):
        return value
    for tag in _TAGS:
        if isinstance(value, tag.kind):
            return {tag.name: _tagged(tag.encode(value))}
    if isinstance(value, dict):
        if all(type(key) is str and not key.startswith("~") for key in value):
            return {key: _tagged(inner) for key, inner in value.items()}
        return {_DICT: [[_tagged(key), _tagged(inner)] for key, inner in value.items()]}
    if isinstance(value, list):
        return [_tagged(inner) for inner in value]
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(
        f"cannot store a {type(value).__module__}.{type(value).__qualname__}: store plain values, such as a"
        " dict of them, or give serializer=cachelib.serializers.BaseSerializer(), which pickles (only where"
        " nobody else can write to the cluster)"
    )


def _untagged(value: dict[str, Any]) -> Any:
    if len(value) != 1:
        return value
    [(name, inner)] = value.items()
    decode = _DECODERS.get(name)
    return value if decode is None else decode(inner)
