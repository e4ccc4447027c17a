"""One operation of each idempotency, and what is known of those in flight."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

Call = Callable[[Any], Any]

READ: Call = lambda client: client.get_map("m").blocking().get("k")
REPEATABLE: Call = lambda client: client.get_map("m").blocking().set("k", 1)
ELSEWHERE: Call = lambda client: client.get_map("m").blocking().put("k", 1)
ONCE: Call = lambda client: client.get_queue("q").blocking().offer(1)
CALLS = {"READ": READ, "REPEATABLE": REPEATABLE, "REPEATABLE_ELSEWHERE": ELSEWHERE, "ONCE": ONCE}


def warmed(client: Any) -> Any:
    """The client, once it has made each call: the real proxies exist."""
    for call in CALLS.values():
        call(client)
    client.get_queue("q").blocking().clear()
    return client


def waits_for_answer(client: Any, how_many: int = 1) -> bool:
    """Whether so many operations are in flight on the active link."""
    link = client._runtime.route.link
    return link is not None and len(link.calls) >= how_many


def reaches(client: Any, members: int, without: UUID | None = None) -> bool:
    """Whether the active cluster has so many members, `without` one, and the client is connected to each."""
    link = client._runtime.route.link
    if link is None:
        return False
    connected = link.client.connected_members()
    return {member.uuid for member in link.client.member_list()} == connected and (
        len(connected) == members and without not in connected
    )
