"""The controller against every story that hypothesis can think of, in a scripted world.

What must hold after each event is in `tests/support/harness.py` and `tests/support/scripted_world.py`; what must hold
once the world has come to rest is in `check_end` there and in `settle` here. More stories: CONTROLLER_MODEL_EXAMPLES=5000.
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

from flask_hazelcast_failover.client._controller.failback import required_health
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client.options import Failback, Options, Standby
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientOfflineException
from tests.support.calls import BackgroundCall
from tests.support.harness import ControllerHarness, results_of
from tests.support.scripted_clock import Task
from tests.support.scripted_clusters import Mode

_EXAMPLES = int(os.environ.get("CONTROLLER_MODEL_EXAMPLES", "0"))

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


class ControllerModel(RuleBasedStateMachine):
    """The controller, and a world that does anything at any time."""

    harness: ControllerHarness
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
        self.harness = ControllerHarness(labels, options, creep)
        self.callers = Callers(self.harness.effects.route)
        for cluster, mode in zip(self.harness.clusters, modes):  # noqa: B905
            cluster.mode = mode
        self.harness.begin()

    @rule(index=_clusters, mode=st.sampled_from(Mode), soon=st.booleans())
    def change(self, index: int, mode: Mode, soon: bool) -> None:
        """A cluster dies, freezes, comes back, or turns us away."""
        if mode is not self._cluster(index).mode:
            self.harness.effects.set_mode(self._index(index), mode)
            self._deliver(soon)

    @rule(index=_clusters, soon=st.booleans())
    def restart(self, index: int, soon: bool) -> None:
        """A cluster comes back empty."""
        self.harness.effects.restart(self._index(index))
        self._deliver(soon)

    @rule(data=st.data(), soon=st.booleans())
    @precondition(lambda self: any(link.is_open for link in self.harness.effects.links))
    def cut(self, data: st.DataObject, soon: bool) -> None:
        """One connection is closed while its cluster lives on."""
        open_links = [link for link in self.harness.effects.links if link.is_open]
        self.harness.effects.disconnect(data.draw(st.sampled_from(open_links)))
        self._deliver(soon)

    @rule(data=st.data(), soon=st.booleans())
    @precondition(lambda self: self.harness.effects.tasks)
    def end(self, data: st.DataObject, soon: bool) -> None:
        """What is under way ends, in any order."""
        tasks: list[Task] = self.harness.effects.tasks
        self.harness.effects.end(data.draw(st.sampled_from(tasks)))
        self._deliver(soon)

    @rule()
    @precondition(lambda self: self.harness.effects.posted)
    def deliver_one(self) -> None:
        """The controller gets round to one event."""
        self.harness.deliver_one()

    @rule(index=_clusters, holds=st.booleans(), soon=st.booleans())
    def wish(self, index: int, holds: bool, soon: bool) -> None:
        """Somebody wants to be on a cluster, or back on the primary."""
        self.harness.effects.request(self._index(index) if holds else 0, holds=holds)
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
        cluster.failing, cluster.registers, cluster.ready = failing, carries, ready
        cluster.busy, cluster.dns_error = busy, dns_error

    @rule(index=_clusters)
    @precondition(lambda self: any(cluster.label.startswith("dns") for cluster in self.harness.clusters))
    def move_name(self, index: int) -> None:
        """The name of a cluster leads elsewhere from now on; what was there lives on."""
        if self._cluster(index).label.startswith("dns"):
            self._cluster(index).replace_members()

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.4, 1.0, 3.0, 12.0]), luck=st.sampled_from([0.0, 0.5, 1.0]))
    def let_time_pass(self, seconds: float, luck: float) -> None:
        self.harness.effects.luck = luck
        self.harness.run(seconds)
        self.harness.invariants.check_pauses(slack=0.3)

    @rule()
    def settle(self) -> None:
        """The script ends for once: everything comes to rest where it should be."""
        harness = self.harness
        for cluster in harness.clusters:
            cluster.failing, cluster.registers, cluster.ready = 0, True, True
            cluster.busy, cluster.dns_error = 0, None
        harness.deliver()
        stays = self._stays()
        returns = harness.controller.state is State.OFFLINE and not self._is_busy()
        harness.run(_AT_REST)
        harness.invariants.check_end()
        self.callers.check_all_know()
        up = [index for index, cluster in enumerate(harness.clusters) if cluster.mode is Mode.UP]
        if harness.options.failback is Failback.AUTO and not harness.invariants.holds:
            self._check_failback(up)
        elif stays is not None:
            assert harness.on == stays
        elif returns and up:
            assert harness.effects.active is not None and harness.effects.active.index == up[0]

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        self.settle()
        self._check_loss()
        waiting = self.harness.effects.request(0, holds=True)
        self.harness.deliver_one()
        self.callers.call()
        self.harness.controller.close()
        self.harness.effects.route.close()
        assert len(results_of(waiting)) == 1
        self.callers.check_all_know()

    def _check_loss(self) -> None:
        """Whatever was before: when this cluster dies, the best of the others is taken."""
        harness = self.harness
        if harness.effects.active is None:
            return
        self.harness.effects.set_mode(harness.effects.active.index, Mode.ABSENT)
        harness.run(_AT_REST)
        harness.invariants.check_end()
        up = [index for index, cluster in enumerate(harness.clusters) if cluster.mode is Mode.UP]
        taken = [] if harness.effects.active is None else [harness.effects.active.index]
        assert taken == up[:1], "not the best of the others"

    def _check_failback(self, up: list[int]) -> None:
        harness = self.harness
        wait = max(
            required_health(record.failback.relapses, harness.options.failback_after)
            for record in harness.controller.records
        )
        if up and wait < _LONGEST_WAIT:
            harness.run(wait + 5.0)
            assert harness.effects.active is not None and harness.effects.active.index == up[0], (
                "did not come back"
            )

    def _stays(self) -> str | None:
        """Where the client is, when nothing can take it away from there."""
        active = self.harness.effects.active
        if active is None or self._is_busy() or self.harness.clusters[active.index].mode is not Mode.UP:
            return None
        return self.harness.on

    def _is_busy(self) -> bool:
        effects = self.harness.effects
        asked = any(not request.done.done() for request in effects.requests)
        return asked or effects.preparing is not None or bool(effects.pending("attempt"))

    def _deliver(self, soon: bool) -> None:
        if soon:
            self.harness.deliver()

    def _index(self, index: int) -> int:
        return index % len(self.harness.clusters)

    def _cluster(self, index: int) -> Any:
        return self.harness.clusters[self._index(index)]


@pytest.mark.timeout(60 + _EXAMPLES)
def test_controller_model() -> None:
    """Whatever happens, no invariant is broken, and all ends where it should."""
    run_state_machine_as_test(
        ControllerModel,
        settings=settings(
            max_examples=_EXAMPLES or 60,
            stateful_step_count=40,
            deadline=None,
            derandomize=not _EXAMPLES,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
