"""The package's own maps admit strings and byte arrays; nothing else that is in them is deserialized."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hazelcast.serialization.api import (
    CompactSerializer,
    IdentifiedDataSerializable,
    Portable,
    StreamSerializer,
)
from hazelcast.serialization.data import Data

from flask_hazelcast_failover.client._official.plain_maps import plain_object
from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.foreign_entries import Payload, official_client_on
from tests.support.waiting import eventually

STRING, BYTES = -11, -12


def data(type_id: int, content: bytes, length: int | None = None, order: str = ">") -> Data:
    """What members keep."""
    size = len(content) if length is None else length
    return Data(bytes(4) + struct.pack(">i", type_id) + struct.pack(f"{order}i", size) + content)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("text", ["", "naïve ☕", "x" * 70_000])
def test_strings_and_byte_arrays_are_read(text: str, order: str) -> None:
    content = text.encode()
    assert plain_object(data(STRING, content, order=order)) == text
    found = plain_object(data(BYTES, content, order=order))
    assert (type(found), found) == (bytearray, content)


@pytest.mark.parametrize("kind", [STRING, BYTES])
@pytest.mark.parametrize("length", [-1, -2, 0, 2, 4, 2**31 - 1, -(2**31)])
def test_a_wrong_length_is_not_believed(kind: int, length: int) -> None:
    """The official client makes room for two gigabytes."""
    forged = data(kind, b"abc", length)
    assert plain_object(forged) is forged


@pytest.mark.parametrize("size", range(12))
@pytest.mark.parametrize("kind", [STRING, BYTES])
def test_a_cut_entry_does_no_harm(kind: int, size: int) -> None:
    cut = Data(data(kind, b"abc").buffer[:size])
    assert plain_object(cut) is cut


@pytest.mark.parametrize("kind", [0, -1, -2, -3, -20, -55, -100, -120, -130, 7])
def test_no_other_type_is_read(kind: int) -> None:
    other = data(kind, b"abc")
    assert plain_object(other) is other


def test_no_text_that_is_not_utf_8_is_read() -> None:
    broken = data(STRING, b"\xff")
    assert plain_object(broken) is broken
    assert plain_object(None) is None


@pytest.fixture
def name() -> str:
    return f"plain-{uuid4().hex}"


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path / "ran")


@pytest.fixture
def intruder(blue: LocalCluster) -> Iterator[Any]:
    with official_client_on(blue) as client:
        yield client


# Reads the value of the key "k", which is foreign, in one of the ways in which a map gives values.
READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda plain: plain.get("k"),
    "get_all": lambda plain: plain.get_all(["k"])["k"],
    "entry_set": lambda plain: dict(plain.entry_set())["k"],
    "get_entry_view": lambda plain: plain.get_entry_view("k").value,
    "put": lambda plain: plain.put("k", "new"),
    "put_if_absent": lambda plain: plain.put_if_absent("k", "new"),
    "remove": lambda plain: plain.remove("k"),
    "replace": lambda plain: plain.replace("k", "new"),
}


@pytest.mark.parametrize("read", READS)
def test_a_pickled_value_comes_as_data(
    blue: LocalCluster, intruder: Any, name: str, payload: Payload, read: str
) -> None:
    with client_on(blue) as client:
        intruder.get_map(name).blocking().set("k", payload)
        found = READS[read](client.control.get_plain_map(name).blocking())
    assert isinstance(found, Data)
    assert not payload.has_run()


def test_a_pickled_key_comes_as_data(blue: LocalCluster, intruder: Any, name: str, payload: Payload) -> None:
    with client_on(blue) as client:
        intruder.get_map(name).blocking().set(payload, payload)
        plain = client.control.get_plain_map(name).blocking()
        plain.set("k", "v")
        keys, values, entries = plain.key_set(), plain.values(), plain.entry_set()
    assert {type(key) for key in keys} == {type(value) for value in values} == {Data, str}
    assert dict(entries)["k"] == "v"
    assert not payload.has_run()


def test_a_listener_gets_pickled_entries_as_data(
    blue: LocalCluster, intruder: Any, name: str, payload: Payload
) -> None:
    events: list[Any] = []
    with client_on(blue) as client:
        plain = client.control.get_plain_map(name)
        listen = {"added_func": events.append, "updated_func": events.append}
        plain.add_entry_listener(include_value=True, **listen).result()
        (official,) = client.control.connected_clusters().values()
        official.create_plain_map(name).result().add_entry_listener(include_value=True, **listen).result()
        for _ in range(2):
            intruder.get_map(name).blocking().set(payload, payload)
        eventually(lambda: len(events) == 4)
    found = [one for event in events for one in (event.key, event.value, event.old_value)]
    assert {type(one) for one in found} == {Data, type(None)}
    assert not payload.has_run()


def test_a_foreign_value_can_be_replaced_and_removed(
    blue: LocalCluster, intruder: Any, name: str, payload: Payload
) -> None:
    with client_on(blue) as client:
        foreign, plain = intruder.get_map(name).blocking(), client.control.get_plain_map(name).blocking()
        foreign.set("k", payload)
        raw = plain.get("k")
        assert plain.replace_if_same("k", raw, "new")
        assert not plain.replace_if_same("k", raw, "newer")
        assert plain.get("k") == "new"
        foreign.set("k", payload)
        assert plain.remove_if_same("k", raw)
        assert plain.get("k") is None
    assert not payload.has_run()


def test_the_maps_of_the_app_stay_as_they_are(
    blue: LocalCluster, intruder: Any, name: str, payload: Payload
) -> None:
    with client_on(blue) as client:
        intruder.get_map(name).blocking().set("k", payload)
        own, plain = client.get_map(name).blocking(), client.control.get_plain_map(name).blocking()
        assert isinstance(plain.get("k"), Data) and not payload.has_run()
        assert own.get("k") is None and payload.has_run()
        own.set("numbers", [1, 2])
        assert own.get("numbers") == [1, 2]
        assert isinstance(plain.get("numbers"), Data)


CALLED: list[str] = []


class _Custom:
    pass


class _CustomSerializer(StreamSerializer):
    def write(self, out: Any, obj: object) -> None:
        out.write_int(1)

    def read(self, inp: Any) -> _Custom:
        CALLED.append("custom")
        return _Custom()

    def get_type_id(self) -> int:
        return 4711

    def destroy(self) -> None:
        pass


class _GlobalSerializer(_CustomSerializer):
    def read(self, inp: Any) -> _Custom:
        CALLED.append("global")
        return _Custom()

    def get_type_id(self) -> int:
        return 4712


class _Identified(IdentifiedDataSerializable):
    def get_factory_id(self) -> int:
        return 4713

    def get_class_id(self) -> int:
        return 1

    def write_data(self, object_data_output: Any) -> None:
        pass

    def read_data(self, object_data_input: Any) -> None:
        CALLED.append("identified")


class _Portable(Portable):
    def get_factory_id(self) -> int:
        return 4714

    def get_class_id(self) -> int:
        return 1

    def write_portable(self, writer: Any) -> None:
        writer.write_int("a", 1)

    def read_portable(self, reader: Any) -> None:
        CALLED.append("portable")


class _Compact:
    pass


class _CompactSerializer(CompactSerializer[_Compact]):
    def read(self, reader: Any) -> _Compact:
        CALLED.append("compact")
        return _Compact()

    def write(self, writer: Any, obj: _Compact) -> None:
        writer.write_int32("a", 1)

    def get_class(self) -> type[_Compact]:
        return _Compact

    def get_type_name(self) -> str:
        return "compact"


class _Other:
    pass


class _Unused:
    pass


SERIALIZERS: dict[str, Any] = {
    # The official client writes with a global serializer, and reads with it only if its number is known otherwise.
    "custom_serializers": {_Custom: _CustomSerializer, _Unused: _GlobalSerializer},
    "global_serializer": _GlobalSerializer,
    "data_serializable_factories": {4713: {1: _Identified}},
    "portable_factories": {4714: {1: _Portable}},
    "compact_serializers": [_CompactSerializer()],
}


@pytest.mark.parametrize("kind", [_Custom, _Other, _Identified, _Portable, _Compact])
def test_no_serializer_of_the_app_is_called(blue: LocalCluster, name: str, kind: type[object]) -> None:
    CALLED.clear()
    with (
        official_client_on(blue, **SERIALIZERS) as intruder,
        client_on(blue, client_options=SERIALIZERS) as client,
    ):
        intruder.get_map(name).blocking().set("k", kind())
        intruder.get_map(name).blocking().set(kind(), "v")
        plain = client.control.get_plain_map(name).blocking()
        found = [plain.get("k"), *plain.key_set(), *plain.values()]
        assert {type(one) for one in found} == {Data, str}
        assert CALLED == []
        client.get_map(name).blocking().get("k")
        assert len(CALLED) == 1


def test_a_near_cache_of_the_app_is_not_read(
    start_cluster: StartCluster, name: str, payload: Payload
) -> None:
    cluster = start_cluster("blue", properties={"hazelcast.map.invalidation.batch.enabled": "false"})
    with (
        client_on(cluster, client_options={"near_caches": {name: {}}}) as client,
        official_client_on(cluster) as intruder,
    ):
        own, plain = client.get_map(name).blocking(), client.control.get_plain_map(name).blocking()
        plain.set("k", "v")
        own.set("list", [1])
        assert own.get("list") == own.get("list") == [1]
        assert own.get("k") == own.get("k") == "v"
        assert isinstance(plain.get("list"), Data)
        intruder.get_map(name).blocking().set("k", payload)
        assert isinstance(plain.get("k"), Data)
        plain.set("k", "new")
        eventually(lambda: own.get("k") == "new")
    assert not payload.has_run()


@pytest.mark.parametrize("is_big_endian", [True, False])
def test_either_byte_order_works(blue: LocalCluster, name: str, is_big_endian: bool) -> None:
    with client_on(blue, client_options={"is_big_endian": is_big_endian}) as client:
        plain = client.control.get_plain_map(name).blocking()
        plain.set("k", "v" * 300)
        plain.set("bytes", bytearray(b"\x01" * 300))
        assert dict(plain.entry_set()) == {"k": "v" * 300, "bytes": bytearray(b"\x01" * 300)}


def test_a_plain_map_follows_a_switch(
    blue: LocalCluster, green: LocalCluster, name: str, payload: Payload
) -> None:
    with client_on(blue, green) as client, official_client_on(green) as intruder:
        plain = client.control.get_plain_map(name).blocking()
        plain.set("k", "blue")
        intruder.get_map(name).blocking().set("k", payload)
        client.switch_to("green")
        assert isinstance(plain.get("k"), Data)
        client.switch_to("blue")
        assert plain.get("k") == "blue"
    assert not payload.has_run()


def test_a_standby_makes_the_plain_proxy_before_a_switch(
    blue: LocalCluster, green: LocalCluster, name: str
) -> None:
    with client_on(blue, green) as client:
        eventually(lambda: len(client.control.connected_clusters()) == 2)
        plain = client.control.get_plain_map(name)
        plain.blocking().set("k", "v")
        links = client._runtime.engine.links.all
        eventually(lambda: [link.real(plain._key) is not None for link in links()] == [True, True])
        assert [type(link.real(plain._key)).__name__ for link in links()] == ["Map", "Map"]


def test_each_name_has_one_plain_map_beside_that_of_the_app(blue: LocalCluster, name: str) -> None:
    with client_on(blue) as client:
        plain, own = client.control.get_plain_map(name), client.get_map(name)
        assert client.control.get_plain_map(name) is plain
        assert client.get_map(name) is own and own is not plain
        plain.blocking().set("k", "v")
        listed = [found for found in client.get_distributed_objects() if found.name == name]
        assert listed == [own]
        assert own.destroy()
        assert plain.blocking().get("k") is None
        own.blocking().set("k", [1])
        assert plain.destroy()
        assert own.blocking().get("k") is None
        assert own.blocking().is_empty() and plain.blocking().is_empty()
