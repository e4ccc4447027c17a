"""The controller against every story that hypothesis can think of, in a scripted world.

What must hold after each event is in `tests/support/stage.py` and `tests/support/scripted_world.py`; what must hold
once the world has come to rest is in `check_end` there and in `settle` here. More stories: KEEPER_MODEL_EXAMPLES=5000.
"""

import os
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flask_hazelcast_failover.client._controller.failback import fitness_wait
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client.options import Failback, Options, Standby
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.calls import BackgroundCall
from tests.support.harness import Stage
from tests.support.scripted_world import Mode, Task

_EXAMPLES = int(os.environ.get("KEEPER_MODEL_EXAMPLES", "0"))

# Longer than the longest pause between attempts, and than a search that meets silence everywhere.
_AT_REST = 75.0
# A cluster that has failed so often that it is fit to return to in hours is not waited for.
_LONGEST_WAIT = 150.0

_clusters = st.integers(0, 2)


class Callers:
    """Threads with an operation each, which waits for the outcome of a switch without a deadline of its own."""

    def __init__(self, gate: Route) -> None:
        self._gate = gate
        self._waiting: list[BackgroundCall] = []

    def call(self) -> None:
        """Have one more begin."""
        self._waiting.append(BackgroundCall(lambda: self._gate.active(deadline=float("inf"))))

    def check_all_know(self) -> None:
        """Each of them has a link by now, or knows that there is none."""
        for outcome in self._waiting:
            outcome.wait(2.0)
            expected = (type(None), ClientOfflineException, HazelcastClientNotActiveError)
            assert isinstance(outcome.error, expected), outcome.error
            assert (outcome.result is None) == (outcome.error is not None)
        self._waiting.clear()


class KeeperModel(RuleBasedStateMachine):
    """The controller, and a world that does anything at any time."""

    stage: Stage
    callers: Callers

    @initialize(
        labels=st.sampled_from([["a"], ["a", "b"], ["a", "b", "c"], ["dns-a", "b", "c"], ["a", "dns-b"]]),
        standby=st.sampled_from(Standby),
        failback=st.sampled_from(Failback),
        try_count=st.integers(1, 3),
        ready_check=st.sampled_from([None, bool]),
        modes=st.lists(st.sampled_from(Mode), min_size=3, max_size=3),
        creep=st.sampled_from([0.0, 0.002]),
    )
    def start(
        self,
        labels: list[str],
        standby: Standby,
        failback: Failback,
        try_count: int,
        ready_check: Any,
        modes: list[Mode],
        creep: float,
    ) -> None:
        options = Options(
            try_count=try_count,
            standby=standby,
            failback=failback,
            failback_after=3.0,
            ready_check=ready_check,
            health_check_interval=2.0,
            health_check_failures=2,
            drain_timeout=2.0,
        )
        self.stage = Stage(labels, options, creep)
        self.callers = Callers(self.stage.world.gate)
        for cluster, mode in zip(self.stage.clusters, modes):  # noqa: B905
            cluster.mode = mode
        self.stage.begin()

    @rule(index=_clusters, mode=st.sampled_from(Mode), soon=st.booleans())
    def change(self, index: int, mode: Mode, soon: bool) -> None:
        """A cluster dies, freezes, comes back, or turns us away."""
        if mode is not self._cluster(index).mode:
            self.stage.world.set_mode(self._index(index), mode)
            self._deliver(soon)

    @rule(index=_clusters, soon=st.booleans())
    def restart(self, index: int, soon: bool) -> None:
        """A cluster comes back empty."""
        self.stage.world.restart(self._index(index))
        self._deliver(soon)

    @rule(data=st.data(), soon=st.booleans())
    @precondition(lambda self: any(link.is_open for link in self.stage.world.links))
    def cut(self, data: st.DataObject, soon: bool) -> None:
        """One connection is closed while its cluster lives on."""
        open_links = [link for link in self.stage.world.links if link.is_open]
        self.stage.world.close(data.draw(st.sampled_from(open_links)))
        self._deliver(soon)

    @rule(data=st.data(), soon=st.booleans())
    @precondition(lambda self: self.stage.world.tasks)
    def end(self, data: st.DataObject, soon: bool) -> None:
        """What is under way ends, in any order."""
        tasks: list[Task] = self.stage.world.tasks
        self.stage.world.end(data.draw(st.sampled_from(tasks)))
        self._deliver(soon)

    @rule()
    @precondition(lambda self: self.stage.world.posted)
    def deliver_one(self) -> None:
        """The controller gets round to one event."""
        self.stage.deliver_one()

    @rule(index=_clusters, holds=st.booleans(), soon=st.booleans())
    def wish(self, index: int, holds: bool, soon: bool) -> None:
        """Somebody wants to be on a cluster, or back on the primary."""
        self.stage.world.wish(self._index(index) if holds else 0, holds=holds)
        self._deliver(soon)

    @rule(count=st.integers(1, 3))
    def call(self, count: int) -> None:
        """Threads want to know where operations go."""
        for _ in range(count):
            self.callers.call()

    @rule(
        index=_clusters,
        failing=st.sampled_from([0, 0, 1, 2, 3]),
        carries=st.sampled_from([True, True, False]),
        ready=st.booleans(),
        busy=st.sampled_from([0, 0, 2]),
        dns_error=st.sampled_from([None, None, "SERVFAIL"]),
    )
    def spoil(
        self, index: int, failing: int, carries: bool, ready: bool, busy: int, dns_error: str | None
    ) -> None:
        """A cluster becomes half good, or good again."""
        cluster = self._cluster(index)
        cluster.failing, cluster.carries, cluster.ready = failing, carries, ready
        cluster.busy, cluster.dns_error = busy, dns_error

    @rule(index=_clusters)
    @precondition(lambda self: any(cluster.label.startswith("dns") for cluster in self.stage.clusters))
    def move_name(self, index: int) -> None:
        """The name of a cluster leads elsewhere from now on; what was there lives on."""
        if self._cluster(index).label.startswith("dns"):
            self.stage.world.settle_members(self._cluster(index))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.4, 1.0, 3.0, 12.0]), luck=st.sampled_from([0.0, 0.5, 1.0]))
    def let_time_pass(self, seconds: float, luck: float) -> None:
        self.stage.world.luck = luck
        self.stage.run(seconds)
        self.stage.check_pauses(slack=0.3)

    @rule()
    def settle(self) -> None:
        """The script ends for once: everything comes to rest where it should be."""
        stage = self.stage
        for cluster in stage.clusters:
            cluster.failing, cluster.carries, cluster.ready = 0, True, True
            cluster.busy, cluster.dns_error = 0, None
        stage.deliver()
        stays = self._stays()
        returns = stage.controller.state is State.OFFLINE and not self._is_busy()
        stage.run(_AT_REST)
        stage.check_end()
        self.callers.check_all_know()
        up = [index for index, cluster in enumerate(stage.clusters) if cluster.mode is Mode.UP]
        if stage.options.failback is Failback.AUTO and not stage.world.held:
            self._check_failback(up)
        elif stays is not None:
            assert stage.on == stays
        elif returns and up:
            assert stage.world.route is not None and stage.world.route.index == up[0]

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        self.settle()
        self._check_loss()
        waiting = self.stage.world.wish(0, holds=True)
        self.stage.deliver_one()
        self.callers.call()
        self.stage.controller.close()
        self.stage.world.gate.close()
        assert len(waiting.answers) == 1
        self.callers.check_all_know()

    def _check_loss(self) -> None:
        """Whatever was before: when this cluster dies, the best of the others is taken."""
        stage = self.stage
        if stage.world.route is None:
            return
        self.stage.world.set_mode(stage.world.route.index, Mode.ABSENT)
        stage.run(_AT_REST)
        stage.check_end()
        up = [index for index, cluster in enumerate(stage.clusters) if cluster.mode is Mode.UP]
        taken = [] if stage.world.route is None else [stage.world.route.index]
        assert taken == up[:1], "not the best of the others"

    def _check_failback(self, up: list[int]) -> None:
        stage = self.stage
        wait = max(fitness_wait(record, stage.options.failback_after) for record in stage.controller.records)
        if up and wait < _LONGEST_WAIT:
            stage.run(wait + 5.0)
            assert stage.world.route is not None and stage.world.route.index == up[0], "did not come back"

    def _stays(self) -> str | None:
        """Where the client is, when nothing can take it away from there."""
        route = self.stage.world.route
        if route is None or self._is_busy() or self.stage.clusters[route.index].mode is not Mode.UP:
            return None
        return self.stage.on

    def _is_busy(self) -> bool:
        world = self.stage.world
        asked = any(not asked.answers for asked in world.asked)
        return asked or world.moving is not None or bool(world.pending("attempt"))

    def _deliver(self, soon: bool) -> None:
        if soon:
            self.stage.deliver()

    def _index(self, index: int) -> int:
        return index % len(self.stage.clusters)

    def _cluster(self, index: int) -> Any:
        return self.stage.clusters[self._index(index)]


@pytest.mark.timeout(60 + _EXAMPLES)
def test_whatever_happens_the_keeper_loses_nothing_and_ends_where_it_should_be() -> None:
    run_state_machine_as_test(
        KeeperModel,
        settings=settings(
            max_examples=_EXAMPLES or 60,
            stateful_step_count=40,
            deadline=None,
            derandomize=not _EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
