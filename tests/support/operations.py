"""One operation of each class, and relays that leave it without an answer."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from flask_hazelcast_failover.testing import LocalCluster
from tests.support.relay import Relay

Call = Callable[[Any], Any]

READ: Call = lambda client: client.get_map("m").blocking().get("k")
REPEATABLE: Call = lambda client: client.get_map("m").blocking().set("k", 1)
ELSEWHERE: Call = lambda client: client.get_map("m").blocking().put("k", 1)
ONCE: Call = lambda client: client.get_queue("q").blocking().offer(1)
CLASSES = {"READ": READ, "REPEATABLE": REPEATABLE, "REPEATABLE_ELSEWHERE": ELSEWHERE, "ONCE": ONCE}


@pytest.fixture
def relayed(blue: LocalCluster, green: LocalCluster) -> Iterator[tuple[Relay, Relay]]:
    """Relays to `blue` and `green`: frozen, requests are surely sent and surely not answered."""
    with Relay(blue.addresses[0]) as first, Relay(green.addresses[0]) as second:
        yield first, second


def warmed(client: Any) -> Any:
    for call in CLASSES.values():
        call(client)
    client.get_queue("q").blocking().clear()
    return client


def waits_for_answer(client: Any, how_many: int = 1) -> bool:
    link = client._runtime.route.link
    return link is not None and len(link.calls) >= how_many


def reaches(client: Any, members: int, without: UUID | None = None) -> bool:
    """Whether the client is connected to every member of the active cluster, and they are so many, `without` one."""
    link = client._runtime.route.link
    if link is None:
        return False
    connected = link.client.connected_members()
    return {member.uuid for member in link.client.member_list()} == connected and (
        len(connected) == members and without not in connected
    )
