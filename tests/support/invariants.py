"""What subscribers are told in a scripted world: whether it makes sense, one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_hazelcast_failover.client.events import (
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Event,
    Reason,
)
from flask_hazelcast_failover.client.options import Failback

if TYPE_CHECKING:
    from tests.support.scripted_world import ScriptedWorld

__all__ = ["Story"]


class Story:
    """Looks whether what is told makes sense."""

    def __init__(self, world: ScriptedWorld) -> None:
        self._world = world
        self._connected: set[str] = set()
        self._lost: set[str] = set()
        self._is_exhausted = False
        self._last: Event | None = None

    def told(self, event: Event) -> None:
        match event:
            case ClusterConnected(label, active):
                route = self._world.route
                assert active == (route is not None and self._world.clusters[route.index].label == label)
                self._connected.add(label)
                self._is_exhausted = self._is_exhausted and not active
            case ClusterLost(label, active, _):
                assert label in self._connected, f"{label} was lost, and was not there"
                assert self._world.route is None or not active
                self._connected.discard(label)
                self._lost.add(label)
            case ClusterRecovered(label, downtime):
                assert isinstance(self._last, ClusterConnected) and self._last.cluster == label
                assert downtime >= 0
                self._lost.discard(label)
            case ClustersExhausted(errors):
                assert not self._is_exhausted, "told twice that nothing can be reached"
                assert set(errors) == {cluster.label for cluster in self._world.clusters}
                self._is_exhausted = True
            case ClusterSwitched():
                self._switched(event)
        self._last = event

    def _switched(self, event: ClusterSwitched) -> None:
        world = self._world
        assert world.route is not None and world.clusters[world.route.index].label == event.current
        assert event.epoch == world.epoch
        assert event.duration >= 0
        assert event.current != event.previous or event.reason is Reason.DNS
        if event.reason is Reason.FAILBACK:
            order = [cluster.label for cluster in world.clusters]
            assert order.index(event.current) < order.index(event.previous), "failed back to a lower priority"
            assert world.options.failback is Failback.AUTO and not world.held
            since = max(world.route.opened_at, world.route.failed_at or 0.0)
            assert world.time - since >= world.options.failback_after - 0.001
