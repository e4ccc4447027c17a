"""Maps that this package reads for itself, in which it trusts nobody.

The official client unpickles what it reads, on its reactor's thread, and runs the app's serializers: whoever may write
to a map runs code in each process that reads it. What this package keeps in maps of its own are strings and byte arrays,
so its proxies admit these only, and tell them by the type id, before anything else is read.
"""

from __future__ import annotations

from typing import Any

from hazelcast.proxy import MAP_SERVICE
from hazelcast.proxy.map import Map
from hazelcast.serialization.data import DATA_OFFSET, Data
from hazelcast.serialization.serialization_const import CONSTANT_TYPE_BYTE_ARRAY, CONSTANT_TYPE_STRING

_LENGTH_SIZE = 4
_CONTENT_OFFSET = DATA_OFFSET + _LENGTH_SIZE


def plain_map(context: Any, name: str) -> Map[Any, Any]:
    """A proxy that gives keys and values that are no string and no byte array as they came, as ``Data``.

    It has no near cache, whose objects the app's own proxy may have put there.

    :param context: the official client's
    """
    return Map(MAP_SERVICE, name, _PlainContext(context))


def plain_object(data: Any) -> Any:
    """The string or byte array; anything else is returned as it is, also if it only pretends to be one.

    No serializer reads it: the official one makes room for as many bytes as a byte array says it has.
    """
    if not isinstance(data, Data) or len(data.buffer) < _CONTENT_OFFSET:
        return data
    type_id = data.get_type()
    if type_id not in (CONSTANT_TYPE_STRING, CONSTANT_TYPE_BYTE_ARRAY):
        return data
    content = bytearray(data.buffer[_CONTENT_OFFSET:])
    length = bytes(data.buffer[DATA_OFFSET:_CONTENT_OFFSET])
    if len(content) not in (int.from_bytes(length, "big"), int.from_bytes(length, "little")):
        return data  # the client's options say which byte order it is; both are safe
    if type_id == CONSTANT_TYPE_BYTE_ARRAY:
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return data


class _PlainContext:
    """The official context, for a proxy that reads with ``plain_object``."""

    def __init__(self, context: Any) -> None:
        self.__dict__.update(context.__dict__)
        self.serialization_service = _PlainSerialization(context.serialization_service)


class _PlainSerialization:
    """What a proxy uses of the serialization service."""

    to_object = staticmethod(plain_object)

    def __init__(self, service: Any) -> None:
        self.to_data = service.to_data
