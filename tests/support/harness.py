"""A controller over scripted clusters, run as the engine runs it over real ones; its invariants are checked all the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client._controller.controller import FailoverController
from flask_hazelcast_failover.client._controller.messages import Begin, Drained, Prepared, SwitchRequest
from flask_hazelcast_failover.client.events import ClusterSwitched, Event, Reason
from flask_hazelcast_failover.client.options import Options
from flask_hazelcast_failover.failover import ClusterConfig
from flask_hazelcast_failover.failover.cluster import DnsSource
from tests.support.invariants import ControllerInvariants
from tests.support.scripted_clusters import Mode, ScriptedCluster, scripted
from tests.support.scripted_effects import ScriptedEffects

__all__ = ["ControllerHarness", "attempts_of", "connected", "harness_of", "results_of", "switches"]

# More steps than this within no time mean that they never end.
_TOO_MANY = 20_000


class ControllerHarness:
    """A controller and its scripted effects.

    :param labels: the clusters in order of priority; a label that begins with "dns" is a CNAME cluster
    :param creep: seconds that pass at each look at the clock
    """

    def __init__(self, labels: list[str], options: Options | None = None, creep: float = 0.0) -> None:
        self.options = options or Options(try_count=3)
        self.clusters = [ScriptedCluster(label) for label in labels]
        self.effects = ScriptedEffects(self.clusters, self.options, creep)
        records = [
            ClusterRecord(_config(cluster, index), index) for index, cluster in enumerate(self.clusters)
        ]
        self.controller = FailoverController(records, self.options, self.effects, "worker")
        self.invariants = ControllerInvariants(self.controller, self.effects)
        self._next_round = self.effects.time

    def begin(self) -> None:
        """Have the controller connect."""
        self.effects.posted.append(Begin())
        self.deliver()

    def deliver_one(self) -> None:
        """Give the controller the next message."""
        if self.effects.posted:
            message = self.effects.posted.popleft()
            if isinstance(message, Drained):
                self.effects.draining[scripted(message.link)] -= 1
            self.controller.handle(message)
            if isinstance(message, Prepared):
                assert self.effects.preparing is not message.link, "a switch that neither ends nor goes on"
            self.invariants.check()

    def deliver(self) -> None:
        """Give the controller every message."""
        for _ in range(_TOO_MANY):
            if not self.effects.posted:
                return
            self.deliver_one()
        raise AssertionError("each message causes another")

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let time pass, and everything end that ends by itself."""
        over = self.effects.time + seconds
        for _ in range(_TOO_MANY):
            self.deliver()
            if (until is not None and until()) or not self._step(over):
                return
        raise AssertionError("too much happens")

    def _step(self, over: float) -> bool:
        """Go to the next thing that is due; false when there is none in time."""
        effects, due = self.effects, self.controller.next_due()
        has_checks = self.options.health_check_interval > 0 and any(link.is_open for link in effects.links)
        times = [task.due for task in effects.tasks]
        times += [due] if due is not None else []
        times += [self._next_round] if has_checks else []
        at = min(times, default=over)
        if at >= over:
            effects.time = max(effects.time, over)
            return False
        effects.advance(at)
        if has_checks and self._next_round <= effects.time:
            self._next_round = effects.time + self.options.health_check_interval
            effects.check_health()
        if due is not None and due <= effects.time:
            self.controller.handle()
            self.invariants.check()
        return True

    def kill(self, label: str) -> None:
        """Kill a cluster."""
        self.set_mode(label, Mode.ABSENT)

    def set_mode(self, label: str, mode: Mode) -> None:
        """Change how a cluster behaves, and give the controller what it sees of it."""
        self.effects.set_mode(self.index(label), mode)
        self.deliver()

    def request(self, label: str, *, holds: bool = True) -> SwitchRequest:
        """Request a switch to a cluster."""
        request = self.effects.request(self.index(label), holds=holds)
        self.deliver()
        return request

    def index(self, label: str) -> int:
        """The place of a cluster."""
        return next(index for index, cluster in enumerate(self.clusters) if cluster.label == label)

    @property
    def on(self) -> str | None:
        """The label of the cluster that operations go to."""
        return None if self.effects.active is None else self.clusters[self.effects.active.index].label

    def events_of(self, kind: type[Event]) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.effects.events if isinstance(event, kind)]


def harness_of(*labels: str, **options: Any) -> ControllerHarness:
    """A controller with clusters that are all up, not yet begun."""
    return ControllerHarness(list(labels), Options(**{"try_count": 3, **options}))


def connected(*labels: str, **options: Any) -> ControllerHarness:
    """The same once it is connected to the first one."""
    harness = harness_of(*labels, **options)
    harness.begin()
    harness.run(0.2)
    assert harness.on == labels[0]
    harness.effects.attempts.clear()
    harness.effects.events.clear()
    harness.invariants.events_cleared()
    return harness


def results_of(request: SwitchRequest) -> list[BaseException | None]:
    """What a request has come to: nothing yet, ``None`` once it is carried out, or its error."""
    return [request.done.exception()] if request.done.done() else []


def attempts_of(harness: ControllerHarness) -> list[str]:
    """The clusters at which attempts began, in order."""
    return [harness.clusters[index].label for _, index in harness.effects.attempts]


def switches(harness: ControllerHarness) -> list[tuple[str, str, Reason]]:
    """The switches announced: from where, where to, why."""
    found = [event for event in harness.effects.events if isinstance(event, ClusterSwitched)]
    return [(event.previous, event.current, event.reason) for event in found]


def _config(cluster: ScriptedCluster, index: int) -> ClusterConfig:
    if cluster.is_dns:
        dns = DnsSource(f"{cluster.label}.example", refresh_interval=5.0)
        return ClusterConfig(cluster.label, cluster.label, dns=dns, priority=index)
    return ClusterConfig(cluster.label, cluster.label, cluster.addresses, priority=index)
