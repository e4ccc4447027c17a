"""The listeners of one structure are found without a look at all others."""

from typing import Any

from hazelcast.future import Future, ImmediateFuture

from flask_hazelcast_failover.client._api.listener_registrations import ListenerRegistrations, ListenerSpec
from flask_hazelcast_failover.client._connect.link import ProxyKey


class CountedName(str):
    """A structure's name that counts how often any is compared with another."""

    comparisons = 0

    def __hash__(self) -> int:
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        CountedName.comparisons += 1
        return super().__eq__(other)


class Queue:
    """A listener's queue that holds nothing."""

    def close(self) -> None:
        """Nothing is to be closed."""


def test_destroying_many_structures_compares_each_a_few_times_only() -> None:
    """Not each with all listeners that there are."""
    number = 1_000

    def request(*_: object) -> Future[Any]:
        return ImmediateFuture(None)

    registrations = ListenerRegistrations(request)
    for at in range(number):
        key = ProxyKey("Map", "service", CountedName(f"map-{at}"))
        registrations.add(ListenerSpec(str(at), key, "add_entry_listener", (), {}, Queue()))  # type: ignore[arg-type]
    CountedName.comparisons = 0
    for at in range(number):
        key = ProxyKey("Map", "service", CountedName(f"map-{at}"))
        assert [spec.id for spec in registrations.remove_structure(key, [])] == [str(at)]
    assert len(registrations) == 0
    assert CountedName.comparisons < 20 * number
