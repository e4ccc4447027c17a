"""One listener of every kind, and what each of them has received."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from hazelcast.predicate import true as any_entry

from tests.support.waiting import eventually

__all__ = ["KINDS", "Listening"]

Add = Callable[[Any, Callable[[Any], None]], Any]
Cause = Callable[[Any], Any]
Remove = Callable[[Any, Any], Any]


def of_entries(getter: str, name: str, put: str, **narrowed: Any) -> tuple[Add, Cause, Remove]:
    """A listener of some of the entries of a map: each entry is put with another value, so that it is news."""

    def entries(client: Any) -> Any:
        return getattr(client, getter)(name).blocking()

    def add(client: Any, hear: Callable[[Any], None]) -> Any:
        updated = {} if getter == "get_multi_map" else {"updated_func": hear}  # it has values, but no updates
        return entries(client).add_entry_listener(added_func=hear, **updated, **narrowed)

    return (
        add,
        lambda client: getattr(entries(client), put)("k", time.monotonic()),
        lambda client, id_: entries(client).remove_entry_listener(id_),
    )


KINDS: dict[str, tuple[Add, Cause, Remove]] = {
    "Map": (
        lambda client, hear: (
            client.get_map("heard").blocking().add_entry_listener(updated_func=hear, added_func=hear)
        ),
        lambda client: client.get_map("heard").blocking().set("k", time.monotonic()),
        lambda client, id_: client.get_map("heard").blocking().remove_entry_listener(id_),
    ),
    "Map of one key": (
        lambda client, hear: (
            client.get_map("heard1").blocking().add_entry_listener(True, "k", None, hear, None, hear)
        ),
        lambda client: client.get_map("heard1").blocking().set("k", time.monotonic()),
        lambda client, id_: client.get_map("heard1").blocking().remove_entry_listener(id_),
    ),
    "Map of a predicate": of_entries("get_map", "heard2", "set", predicate=any_entry()),
    "Map of one key and a predicate": of_entries("get_map", "heard3", "set", key="k", predicate=any_entry()),
    "ReplicatedMap of one key": of_entries("get_replicated_map", "heard1", "put", key="k"),
    "ReplicatedMap of a predicate": of_entries("get_replicated_map", "heard2", "put", predicate=any_entry()),
    "ReplicatedMap of one key and a predicate": of_entries(
        "get_replicated_map", "heard3", "put", key="k", predicate=any_entry()
    ),
    "MultiMap of one key": of_entries("get_multi_map", "heard1", "put", key="k"),
    "ReplicatedMap": (
        lambda client, hear: (
            client.get_replicated_map("heard")
            .blocking()
            .add_entry_listener(added_func=hear, updated_func=hear)
        ),
        lambda client: client.get_replicated_map("heard").blocking().put("k", time.monotonic()),
        lambda client, id_: client.get_replicated_map("heard").blocking().remove_entry_listener(id_),
    ),
    "MultiMap": (
        lambda client, hear: client.get_multi_map("heard").blocking().add_entry_listener(True, None, hear),
        lambda client: client.get_multi_map("heard").blocking().put("k", time.monotonic()),
        lambda client, id_: client.get_multi_map("heard").blocking().remove_entry_listener(id_),
    ),
    "Queue": (
        lambda client, hear: client.get_queue("heard").blocking().add_listener(True, item_added_func=hear),
        lambda client: client.get_queue("heard").blocking().add(1),
        lambda client, id_: client.get_queue("heard").blocking().remove_listener(id_),
    ),
    "List": (
        lambda client, hear: client.get_list("heard").blocking().add_listener(True, hear),
        lambda client: client.get_list("heard").blocking().add(1),
        lambda client, id_: client.get_list("heard").blocking().remove_listener(id_),
    ),
    "Set": (
        lambda client, hear: client.get_set("heard").blocking().add_listener(True, hear),
        lambda client: client.get_set("heard").blocking().add(time.monotonic()),
        lambda client, id_: client.get_set("heard").blocking().remove_listener(id_),
    ),
    "Topic": (
        lambda client, hear: client.get_topic("heard").blocking().add_listener(hear),
        lambda client: client.get_topic("heard").blocking().publish("m"),
        lambda client, id_: client.get_topic("heard").blocking().remove_listener(id_),
    ),
    "ReliableTopic": (
        lambda client, hear: client.get_reliable_topic("heard").blocking().add_listener(hear),
        lambda client: client.get_reliable_topic("heard").blocking().publish("m"),
        lambda client, id_: client.get_reliable_topic("heard").blocking().remove_listener(id_),
    ),
    "distributed objects": (
        lambda client, hear: client.add_distributed_object_listener(hear).result(),
        lambda client: client.get_list(f"new {time.monotonic()}").blocking().size(),
        lambda client, id_: client.remove_distributed_object_listener(id_).result(),
    ),
}


class Listening:
    """Listeners of every kind on a client."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.events: dict[str, list[Any]] = {kind: [] for kind in KINDS}
        self.ids = {kind: add(client, self.events[kind].append) for kind, (add, _, _) in KINDS.items()}

    def clear(self) -> None:
        for events in self.events.values():
            events.clear()

    def without_events(self) -> list[str]:
        """The kinds that have received nothing yet."""
        return [kind for kind, events in self.events.items() if not events]

    def assert_all_receive(self) -> None:
        self.clear()
        for _, cause, _ in KINDS.values():
            cause(self.client)
        eventually(lambda: not self.without_events(), message=f"{self.without_events()} receive nothing")
