"""A controller in a scripted world, run as the engine runs it in the real one.

After each event it is looked whether what must always hold still holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client._controller.controller import FailoverController
from flask_hazelcast_failover.client._controller.messages import (
    AddressesVerified,
    AttemptEnded,
    Begin,
    Drained,
    LinkDown,
    Prepared,
)
from flask_hazelcast_failover.client.events import ClusterSwitched, Event, Reason
from flask_hazelcast_failover.client.options import Failback, Options, Standby
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.failover import ClusterConfig
from flask_hazelcast_failover.failover.cluster import DnsSource
from tests.support.scripted_world import Asked, Mode, ScriptedCluster, ScriptedWorld, own

_QUICK = 0.01
# More than this to do within no time means that it goes round in circles.
_TOO_MUCH = 20_000


class Stage:
    """A controller in a scripted world.

    :param labels: the clusters in order of priority; a label that begins with "dns" is a CNAME cluster
    """

    def __init__(self, labels: list[str], options: Options | None = None, creep: float = 0.0) -> None:
        self.options = options or Options(try_count=3)
        self.clusters = [ScriptedCluster(label) for label in labels]
        self.world = ScriptedWorld(self.clusters, self.options, creep)
        records = [
            ClusterRecord(
                _config(cluster, index), index, () if label.startswith("dns") else cluster.addresses
            )
            for index, (label, cluster) in enumerate(zip(labels, self.clusters, strict=True))
        ]
        self.controller = FailoverController(records, self.options, self.world, "worker")
        self._next_round = self.world.time

    # What happens.

    def begin(self) -> None:
        """Have the controller connect."""
        self.world.posted.append(Begin())
        self.deliver()

    def deliver_one(self) -> None:
        """Tell the controller the next thing that happened."""
        if self.world.posted:
            happening = self.world.posted.popleft()
            if isinstance(happening, Drained):
                self.world.draining[happening.link] -= 1  # type: ignore[index]
            self.controller.handle(happening)
            if isinstance(happening, Prepared):
                assert self.world.moving is not happening.link, "a move that neither ends nor goes on"
            self.check()

    def deliver(self) -> None:
        """Tell the controller everything that happened."""
        for _ in range(_TOO_MUCH):
            if not self.world.posted:
                return
            self.deliver_one()
        raise AssertionError("the controller goes round in circles")

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let time pass, and everything end that ends by itself."""
        world = self.world
        over = world.time + seconds
        for _ in range(_TOO_MUCH):
            self.deliver()
            if until is not None and until():
                return
            if not self._step(over):
                return
        raise AssertionError("too much happens")

    def _step(self, over: float) -> bool:
        """Go to the next thing that is due; false when there is none in time."""
        world, due = self.world, self.controller.next_due()
        has_checks = self.options.health_check_interval > 0 and any(link.is_open for link in world.links)
        times = [task.due for task in world.tasks]
        times += [due] if due is not None else []
        times += [self._next_round] if has_checks else []
        at = min(times, default=over)
        if at >= over:
            world.time = max(world.time, over)
            return False
        world.time = max(world.time, at)
        for task in [task for task in world.tasks if task.due <= world.time]:
            if not world.end(task):
                task.due = world.time + _QUICK
        if has_checks and self._next_round <= world.time:
            self._next_round = world.time + self.options.health_check_interval
            world.check_health()
        if due is not None and due <= world.time:
            self.controller.handle()
            self.check()
        return True

    def kill(self, label: str) -> None:
        """Kill a cluster."""
        self.set_mode(label, Mode.ABSENT)

    def set_mode(self, label: str, mode: Mode) -> None:
        """Change how a cluster behaves, and tell the controller what it sees of it."""
        self.world.set_mode(self.index(label), mode)
        self.deliver()

    def wish(self, label: str, *, holds: bool = True) -> Asked:
        """Want to be on a cluster."""
        asked = self.world.wish(self.index(label), holds=holds)
        self.deliver()
        return asked

    def index(self, label: str) -> int:
        """The place of a cluster."""
        return next(index for index, cluster in enumerate(self.clusters) if cluster.label == label)

    @property
    def on(self) -> str | None:
        """Where operations go."""
        return None if self.world.route is None else self.clusters[self.world.route.index].label

    def told(self, kind: type[Event]) -> list[Event]:
        """The events of a kind."""
        return [event for event in self.world.events if isinstance(event, kind)]

    # What must always hold.

    def check(self) -> None:
        """Look whether what must hold after every event does."""
        world, controller = self.world, self.controller
        assert controller.active is world.route
        assert controller.state is world.state
        assert controller.epoch == world.epoch
        assert world.shown is not None
        self._check_links()
        self._check_search()
        switches = [event for event in world.events if isinstance(event, ClusterSwitched)]
        told = [(event.previous, event.current, event.reason, event.epoch) for event in switches][-100:]
        history = world.shown.history
        assert [(s.previous, s.current, s.reason, s.epoch) for s in history] == told
        assert [s.epoch for s in history] == sorted({s.epoch for s in history})

    def _check_links(self) -> None:
        world = self.world
        kept = [record.link for record in self.controller.records if record.link is not None]
        assert len(set(kept)) == len(kept)
        assert all(not own(link).is_discarded for link in kept), "kept and given up"
        coming = {h.link for h in world.posted if isinstance(h, (AttemptEnded, AddressesVerified, Drained))}
        owned = {
            *kept,
            *coming,
            world.moving,
            *world.slow,
            *(link for link, times in world.draining.items() if times > 0),
        }
        for link in world.live:
            assert link in owned, f"{link} is open and nobody's"
            assert link.is_open or LinkDown(link) in world.posted or link in coming or link not in kept, (
                f"{link} is down, and kept"
            )
        if world.route is not None:
            assert not world.route.is_discarded
            assert world.route in kept

    def _check_search(self) -> None:
        world = self.world
        if world.state is State.SWITCHING:
            tries = self.options.try_count or 3
            assert max(world.in_search.values(), default=0) <= tries, f"too many attempts: {world.in_search}"

    def check_pauses(self, slack: float = 0.1) -> None:
        """While nothing is reachable, clusters that are absent are asked often, those that refuse less."""
        world = self.world
        if world.state is not State.OFFLINE or world.moving is not None:
            return
        for index, (at, refusing) in world.ended.items():
            if not world.pending("attempt", index) and self.controller.records[index].link is None:
                waited = world.time - max(at, world.offline_since)
                assert waited <= (30.0 if refusing else 0.5) + slack, f"{index} not tried for {waited} s"

    def check_end(self) -> None:
        """Look whether all is as it must be once nothing changes any more."""
        world, controller = self.world, self.controller
        assert not world.posted
        assert world.shown == controller.status()
        assert all(len(asked.answers) == 1 for asked in world.asked), "a wish without an answer"
        assert controller.state in (State.CONNECTED, State.OFFLINE)
        up = [index for index, cluster in enumerate(self.clusters) if cluster.mode is Mode.UP]
        if not up:
            assert controller.state is State.OFFLINE
            assert not world.live
            return
        assert world.route is not None and world.route.index in up, f"on {self.on}, reachable are {up}"
        assert world.route.is_open
        linked = {link.index for link in world.live}
        assert len(linked) == len(world.live)
        if self.options.standby is Standby.HOT:
            assert linked == set(up)
        elif self.options.failback is Failback.AUTO:
            assert linked == {index for index in up if index <= world.route.index}
        else:
            assert linked == {world.route.index}
        for link in world.live:
            assert link.known == self.clusters[link.index].members, "did not follow the name"


def stage_of(*labels: str, **options: Any) -> Stage:
    """A controller with clusters that are all up, not yet begun."""
    return Stage(list(labels), Options(**{"try_count": 3, **options}))


def started(*labels: str, **options: Any) -> Stage:
    """A stage where every cluster is up and the client is on the first one."""
    stage = stage_of(*labels, **options)
    stage.begin()
    stage.run(0.2)
    assert stage.on == labels[0]
    stage.world.events.clear()
    stage.world.dials.clear()
    return stage


def dials(stage: Stage) -> list[str]:
    """Which clusters were attempted, in order."""
    return [stage.clusters[index].label for _, index in stage.world.dials]


def switches(stage: Stage) -> list[tuple[str, str, Reason]]:
    """The switches told: from where, where to, why."""
    told = [event for event in stage.world.events if isinstance(event, ClusterSwitched)]
    return [(event.previous, event.current, event.reason) for event in told]


def _config(cluster: ScriptedCluster, index: int) -> ClusterConfig:
    if cluster.label.startswith("dns"):
        dns = DnsSource(f"{cluster.label}.example", refresh_interval=5.0)
        return ClusterConfig(cluster.label, cluster.label, dns=dns, priority=index)
    return ClusterConfig(cluster.label, cluster.label, cluster.addresses, priority=index)
