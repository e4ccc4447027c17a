"""What must hold whatever happens: of the events that subscribers get, and of a controller after each message."""

from __future__ import annotations

from flask_hazelcast_failover.client._controller.controller import FailoverController
from flask_hazelcast_failover.client._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Drained,
    LinkDown,
)
from flask_hazelcast_failover.client.events import (
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Event,
    Reason,
)
from flask_hazelcast_failover.client.options import Failback, Standby
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientOfflineException, ClientShutDown
from tests.support.scripted_clusters import Mode, scripted
from tests.support.scripted_effects import ScriptedEffects

__all__ = ["ControllerInvariants", "EventInvariants"]


class EventInvariants:
    """Looks at each event whether it makes sense after those before."""

    def __init__(self, effects: ScriptedEffects) -> None:
        self._effects = effects
        self._connected: set[str] = set()
        self._is_exhausted = False
        self._last: Event | None = None

    def check(self, event: Event, *, holds: bool) -> None:
        """Look at the next event. ``holds``: whether the last requested switch forbids failback."""
        match event:
            case ClusterConnected(label, active):
                assert active == (label == self._active_label)
                self._connected.add(label)
                self._is_exhausted = self._is_exhausted and not active
            case ClusterLost(label, active, _):
                assert label in self._connected, f"{label} was lost, and was not connected"
                assert self._active_label is None or not active
                self._connected.discard(label)
            case ClusterRecovered(label, downtime):
                assert isinstance(self._last, ClusterConnected) and self._last.cluster == label
                assert downtime >= 0
            case ClustersExhausted(errors):
                assert not self._is_exhausted, "announced twice that nothing can be reached"
                assert set(errors) == {cluster.label for cluster in self._effects.clusters}
                self._is_exhausted = True
            case ClusterSwitched():
                self._check_switch(event, holds=holds)
        self._last = event

    @property
    def _active_label(self) -> str | None:
        active = self._effects.active
        return None if active is None else self._effects.clusters[active.index].label

    def _check_switch(self, event: ClusterSwitched, *, holds: bool) -> None:
        effects, active = self._effects, self._effects.active
        assert active is not None and self._active_label == event.current
        assert event.epoch == effects.epoch
        assert event.duration >= 0
        assert event.current != event.previous or event.reason is Reason.DNS
        if event.reason is Reason.FAILBACK:
            order = [cluster.label for cluster in effects.clusters]
            assert order.index(event.current) < order.index(event.previous), "failed back to a lower priority"
            assert effects.options.failback is Failback.AUTO and not holds
            since = max(active.opened_at, active.failed_at or 0.0)
            assert effects.time - since >= effects.options.failback_after - 0.001


class ControllerInvariants:
    """Looks whether a controller and its effects agree, and whether each link, request and attempt is accounted for."""

    def __init__(self, controller: FailoverController, effects: ScriptedEffects) -> None:
        self.holds = False  # of the last requested switch that was carried out
        self._controller = controller
        self._effects = effects
        self._events = EventInvariants(effects)
        self._checked_events = 0
        self._ended_requests: set[int] = set()

    def events_cleared(self) -> None:
        """The events so far are not to be looked at any more."""
        self._checked_events = 0

    def check(self) -> None:
        """What must hold after every message."""
        effects, controller = self._effects, self._controller
        assert controller.active.link is effects.active
        assert controller.state is effects.state
        assert controller.active.epoch == effects.epoch
        assert effects.status is not None
        self._check_requests()
        self._check_events()
        self._check_links()
        if effects.state is State.SWITCHING:
            most = max(effects.attempts_in_search.values(), default=0)
            assert most <= (effects.options.try_count or 3), f"too many: {effects.attempts_in_search}"

    def check_pauses(self, slack: float = 0.1) -> None:
        """While nothing is reachable, clusters that are absent are tried often, those that refuse less."""
        effects = self._effects
        if effects.state is not State.OFFLINE or effects.preparing is not None:
            return
        for index, (at, refusing) in effects.ended.items():
            if not effects.pending("attempt", index) and self._controller.records[index].link is None:
                waited = effects.time - max(at, effects.offline_since)
                assert waited <= (30.0 if refusing else 0.5) + slack, f"{index} not tried for {waited} s"

    def check_end(self) -> None:
        """What must hold once nothing changes any more."""
        effects, controller = self._effects, self._controller
        assert not effects.posted
        assert effects.status == controller.status()
        assert all(request.done.done() for request in effects.requests), "a request that has not ended"
        assert controller.state in (State.CONNECTED, State.OFFLINE)
        up = [index for index, cluster in enumerate(effects.clusters) if cluster.mode is Mode.UP]
        if not up:
            assert controller.state is State.OFFLINE
            assert not effects.live
            return
        assert effects.active is not None and effects.active.index in up, f"reachable are {up}"
        assert effects.active.is_open
        self._check_standbys(up, effects.active.index)

    def _check_standbys(self, up: list[int], active: int) -> None:
        effects = self._effects
        linked = {link.index for link in effects.live}
        assert len(linked) == len(effects.live)
        if effects.options.standby is Standby.HOT:
            assert linked == set(up)
        elif effects.options.failback is Failback.AUTO:
            assert linked == {index for index in up if index <= active}
        else:
            assert linked == {active}
        for link in effects.live:
            assert link.known == effects.clusters[link.index].members, "did not follow the name"

    def _check_requests(self) -> None:
        for request in self._effects.requests:
            if id(request) in self._ended_requests or not request.done.done():
                continue
            self._ended_requests.add(id(request))
            error = request.done.exception()
            if error is None:
                self.holds = request.holds
                active = self._effects.active
                assert active is not None and active.index == request.index, "completed, and elsewhere"
            else:
                assert isinstance(error, (ClientOfflineException, ClientShutDown))

    def _check_events(self) -> None:
        effects = self._effects
        for event in effects.events[self._checked_events :]:
            self._events.check(event, holds=self.holds)
        self._checked_events = len(effects.events)
        switches = [event for event in effects.events if isinstance(event, ClusterSwitched)]
        told = [(event.previous, event.current, event.reason, event.epoch) for event in switches][-100:]
        history = effects.status.history if effects.status else ()
        assert [(s.previous, s.current, s.reason, s.epoch) for s in history] == told
        assert [s.epoch for s in history] == sorted({s.epoch for s in history})

    def _check_links(self) -> None:
        effects = self._effects
        kept = [record.link for record in self._controller.records if record.link is not None]
        assert len(set(kept)) == len(kept)
        assert all(not scripted(link).is_closed for link in kept), "kept and closed"
        coming = {m.link for m in effects.posted if isinstance(m, (AttemptEnded, AddressesVerified, Drained))}
        draining = {link for link, times in effects.draining.items() if times > 0}
        owned = {*kept, *coming, effects.preparing, *effects.slow, *draining}
        for link in effects.live:
            assert link in owned, f"{link} is open and nobody's"
            is_down_known = link.is_open or LinkDown(link) in effects.posted or link in coming
            assert is_down_known or link not in kept, f"{link} is down, and kept"
        if effects.active is not None:
            assert not effects.active.is_closed
            assert effects.active in kept
