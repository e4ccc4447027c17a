"""JSON with tags for types that JSON lacks. Unlike with pickle, loading it runs no code.

A value that is not plain JSON becomes an object with one member, whose name is a tag that begins with ``~``.
Instances of subclasses of plain types are loaded as these types.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from flask import Response
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, default_exceptions
from werkzeug.wrappers import Response as AnyResponse

from .._foreign_text import printable

__all__ = ["SafeSerializer", "Serializer"]

# How much of an error a message repeats, in characters: it may quote all that was stored.
_MAX_WHY = 200


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
        :raises ValueError: for a value that holds itself, is nested too deeply, or has an integer too large for text
        """
        try:
            return json.dumps(_tagged(value), separators=(",", ":")).encode()
        except RecursionError:
            raise ValueError("cannot store a value that holds itself or is nested too deeply") from None

    def loads(self, stored: bytes) -> Any:
        """The value.

        :raises ValueError: it is not the output of ``dumps``, whatever it is
        """
        if not isinstance(stored, (bytes, bytearray)):
            raise ValueError(f"the stored form of a value is bytes, not a {type(stored).__name__}")  # noqa: TRY004
        try:
            return json.loads(stored, object_hook=_untagged)
        except Exception as error:  # of any constructor that was given something foreign
            why = printable(f"{type(error).__name__}: {error}", _MAX_WHY)
            raise ValueError(f"not the stored form of a value: {why}") from error


class _Tag(NamedTuple):
    name: str
    kind: type[Any]
    encode: Callable[[Any], Any]  # returns what JSON can hold, except that nested values are not tagged yet
    decode: Callable[[Any], Any]


def _of(kind: type[Any], value: Any) -> Any:
    """Require what JSON holds for a tag; most constructors would take something else, and fail in use."""
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} in the place of a {kind.__name__}")
    return value


def _each_of(kind: type[Any], values: Any) -> list[Any]:
    return [_of(kind, value) for value in _of(list, values)]


def _pairs(values: Any) -> dict[Any, Any]:
    return {key: value for key, value in _each_of(list, values)}  # noqa: C416 - unlike dict(), requires pairs


def _listed(kind: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    return lambda values: kind(_of(list, values))


def _written(kind: Callable[[str], Any]) -> Callable[[Any], Any]:
    return lambda text: kind(_of(str, text))


def _encode_response(response: AnyResponse) -> list[Any]:
    if response.is_streamed or response.direct_passthrough:
        raise TypeError("cannot store a response that is streamed: only one whose body is complete")
    return [response.status, [list(header) for header in response.headers], response.get_data()]


def _decode_response(parts: Any) -> Response:
    status, headers, body = _of(list, parts)
    pairs = [(name, value) for name, value in (_each_of(str, header) for header in _of(list, headers))]
    return Response(_of(bytes, body), _of(str, status), pairs)


def _encode_http_error(error: HTTPException) -> list[Any]:
    code = error.code or 0
    extra = {name for name, value in vars(error).items() if value is not None} - {"description"}
    if type(error) is not default_exceptions.get(code) or extra:
        raise TypeError(f"cannot store {error!r}: it has more than a status and a description")
    return [code, error.description]


def _decode_http_error(parts: Any) -> HTTPException:
    code, description = _of(list, parts)
    # By name: the first argument of some classes is another one.
    return default_exceptions[_of(int, code)](description=description)


def _decode_bytes(text: Any) -> bytes:
    return base64.b64decode(_of(str, text), validate=True)


def _decode_timedelta(parts: Any) -> timedelta:
    days, seconds, microseconds = _each_of(int, parts)
    return timedelta(days, seconds, microseconds)


# Subclasses before their base classes.
_TAGS = (
    _Tag("~markup", Markup, str, _written(Markup)),
    _Tag("~bytes", bytes, lambda value: base64.b64encode(value).decode(), _decode_bytes),
    _Tag("~tuple", tuple, list, _listed(tuple)),
    _Tag("~set", set, list, _listed(set)),
    _Tag("~frozenset", frozenset, list, _listed(frozenset)),
    _Tag("~datetime", datetime, datetime.isoformat, datetime.fromisoformat),
    _Tag("~date", date, date.isoformat, date.fromisoformat),
    _Tag("~time", time, time.isoformat, time.fromisoformat),
    _Tag("~timedelta", timedelta, lambda v: [v.days, v.seconds, v.microseconds], _decode_timedelta),
    _Tag("~decimal", Decimal, str, _written(Decimal)),
    _Tag("~uuid", UUID, str, _written(UUID)),
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
    name = next((key for key in value if key.startswith("~")), None)
    if name is None:
        return value
    if len(value) != 1 or name not in _DECODERS:
        raise ValueError(f"an object with {name!r} is no tagged value")
    return _DECODERS[name](value[name])
