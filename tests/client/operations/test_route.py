"""The route: the status and the link change at the same moment."""

from types import SimpleNamespace
from typing import Any

from flask_hazelcast_failover.client._operations.route import Route
from tests.support.calls import BackgroundCall


def test_status_and_link_change_together() -> None:
    route = Route(lambda: None, lambda: "")
    route.offline("nothing is reachable")
    link: Any = SimpleNamespace(index=0)
    asking: list[BackgroundCall] = []

    def show() -> None:
        asking.append(BackgroundCall(lambda: route.active(deadline=float("inf"))))
        assert not asking[0].ends_within(0.1), "it got that nothing is reachable"

    route.publish(link, show)
    assert asking[0].wait().result is link
