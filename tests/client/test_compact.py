"""Compact values: each cluster that the client uses gets their schemas."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hazelcast.predicate import greater
from hazelcast.serialization.api import CompactReader, CompactSerializer, CompactWriter

from flask_hazelcast_failover.testing import LocalCluster
from tests.conftest import StartCluster
from tests.support.clients import client_on
from tests.support.waiting import eventually


@dataclass(frozen=True)
class Tea:
    name: str | None
    grams: int


class TeaSerializer(CompactSerializer[Tea]):
    def __init__(self, type_name: str) -> None:
        self._type_name = type_name

    def read(self, reader: CompactReader) -> Tea:
        return Tea(reader.read_string("name"), reader.read_int32("grams"))

    def write(self, writer: CompactWriter, obj: Tea) -> None:
        writer.write_string("name", obj.name)
        writer.write_int32("grams", obj.grams)

    def get_class(self) -> type[Tea]:
        return Tea

    def get_type_name(self) -> str:
        return self._type_name


SENCHA, ASSAM = Tea("sencha", 100), Tea("assam", 250)

Options = dict[str, Any]
Leave = Callable[[Any, LocalCluster], None]


@pytest.fixture
def compact(request: pytest.FixtureRequest) -> Options:
    """Options of a client with a schema that no other test uses: members never forget one."""
    serializers = [TeaSerializer(request.node.name)]
    return {"client_options": {"compact_serializers": serializers}, "health_check_interval": 0}


def switch(client: Any, blue: LocalCluster) -> None:
    client.switch_to("green")


def lose(client: Any, blue: LocalCluster) -> None:
    blue.kill()
    eventually(lambda: client.status().current_cluster == "green")


class Blocking:
    """A map, used by blocking calls."""

    def __init__(self, client: Any) -> None:
        self._teas = client.get_map("teas").blocking()

    def set(self, key: str, tea: Tea) -> None:
        self._teas.set(key, tea)

    def get(self, key: str) -> Any:
        return self._teas.get(key)


class Futures:
    """A map, used by futures."""

    def __init__(self, client: Any) -> None:
        self._teas = client.get_map("teas")

    def set(self, key: str, tea: Tea) -> None:
        self._teas.set(key, tea).result()

    def get(self, key: str) -> Any:
        return self._teas.get(key).result()


@pytest.mark.parametrize("calls", [Blocking, Futures])
@pytest.mark.parametrize("leave", [switch, lose])
def test_schemas_follow_the_client(
    pair: tuple[LocalCluster, LocalCluster], leave: Leave, calls: Any, compact: Options
) -> None:
    """A class that was written before a switch can be written and read after it, also by new clients."""
    blue, green = pair
    with client_on(blue, green, **compact) as client:
        teas = calls(client)
        teas.set("k", SENCHA)
        leave(client, blue)
        assert teas.get("k") is None
        teas.set("k", ASSAM)
        assert teas.get("k") == ASSAM
        with client_on(green, **compact) as fresh:
            assert calls(fresh).get("k") == ASSAM


def test_schemas_after_a_restart(start_cluster: StartCluster, compact: Options) -> None:
    """A cluster that is back empty at the same address gets the schemas again."""
    cluster = start_cluster("blue")
    with client_on(cluster, try_count=100, wait_timeout=30.0, **compact) as client:
        teas = Blocking(client)
        teas.set("k", SENCHA)
        cluster.restart()
        eventually(lambda: client.status().epoch > 1, within=20)
        teas.set("k", ASSAM)
        with client_on(cluster, **compact) as fresh:
            assert Blocking(fresh).get("k") == ASSAM


def test_schemas_of_other_clients(pair: tuple[LocalCluster, LocalCluster], compact: Options) -> None:
    """A client can read values of other clients on the next cluster without having written their class."""
    blue, green = pair
    with client_on(blue, green, **compact) as client, client_on(green, **compact) as other:
        teas = Blocking(client)
        assert teas.get("k") is None
        Blocking(other).set("k", SENCHA)
        client.switch_to("green")
        assert teas.get("k") == SENCHA


def test_a_loss_while_a_schema_is_sent(pair: tuple[LocalCluster, LocalCluster], compact: Options) -> None:
    """A write that sent its schema to a cluster that dies is repeated on the next one, with the schema."""
    blue, green = pair
    with client_on(blue, green, **compact) as client:
        teas = client.get_map("teas")
        assert teas.get("k").result() is None
        blue.freeze()
        writing = teas.set("k", SENCHA)
        blue.kill()
        writing.result()
        assert (client.status().current_cluster, teas.get("k").result()) == ("green", SENCHA)


def test_compact_values_in_other_structures(
    pair: tuple[LocalCluster, LocalCluster], compact: Options
) -> None:
    """After a switch Compact values are queried, queued, published and received."""
    blue, green = pair
    with client_on(blue, green, **compact) as client:
        teas, queue = client.get_map("teas").blocking(), client.get_queue("teas").blocking()
        topic = client.get_topic("teas").blocking()
        received: list[Any] = []
        teas.add_entry_listener(include_value=True, added_func=lambda event: received.append(event.value))
        topic.add_listener(lambda message: received.append(message.message))
        for label in ("blue", "green"):
            client.switch_to(label)
            received.clear()
            teas.put_all({"sencha": SENCHA, "assam": ASSAM})
            topic.publish(SENCHA)
            assert queue.offer(ASSAM) and queue.poll() == ASSAM
            assert teas.values(greater("grams", 100)) == [ASSAM]
            eventually(lambda: sorted(tea.name for tea in received) == ["assam", "sencha", "sencha"])


@pytest.mark.parametrize("structure", ["get_map", "get_multi_map", "get_replicated_map"])
def test_a_listener_with_a_compact_key(
    structure: str, compact: Options, blue: LocalCluster, green: LocalCluster
) -> None:
    """A listener whose key has a schema that is new to all members receives its events once, on each cluster."""
    with client_on(blue, green, **compact) as client:
        teas = getattr(client, structure)(f"teas-of-{structure}")
        received: list[Any] = []
        added = teas.add_entry_listener(key=SENCHA, added_func=received.append)
        assert added.result()
        for label in ("blue", "green"):
            if label == "green":
                client.switch_to("green")
            for tea in (ASSAM, SENCHA):
                teas.put(tea, label).result()
            eventually(lambda: [event.key for event in received] == [SENCHA])
            received.clear()
        teas.destroy()
