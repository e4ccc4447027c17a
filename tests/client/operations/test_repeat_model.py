"""Every sequence of up to three losses of an operation: it is repeated where it may be, and only there.

The links are scripted, so that each loss comes exactly before or after the operation is sent.
"""

import itertools
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hazelcast.errors import ClientOfflineError, TargetDisconnectedError
from hazelcast.future import Future, ImmediateExceptionFuture, ImmediateFuture

from flask_hazelcast_failover.client._connect.link import Link, LinkEnded, ProxyKey
from flask_hazelcast_failover.client._operations import repeat_policy
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits, traits_of
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client._operations.route import Route
from flask_hazelcast_failover.client._process.serial_executor import SerialExecutor
from flask_hazelcast_failover.client.options import Options, Repeat
from flask_hazelcast_failover.errors import ClientOfflineException, OperationOutcomeUnknown

_IDEMPOTENCIES = [
    Idempotency.READ,
    Idempotency.REPEATABLE,
    Idempotency.REPEATABLE_ELSEWHERE,
    Idempotency.ONCE,
]
_KEY = ProxyKey("Map", "hz:impl:mapService", "m")
_A, _B = 1, 2


class Lost(Enum):
    """When an operation is lost."""

    BEFORE = "before it was sent"
    REFUSED = "the official client refused to send it"
    AFTER = "after it was sent"


class Then(Enum):
    """Where the client is afterwards."""

    SAME_LINK = "on the same link: only a member was lost"
    A = "on a new link to cluster A, with its data"
    B = "on a new link to cluster B"
    OFFLINE = "nowhere"


class Step(NamedTuple):
    """One loss."""

    lost: Lost
    then: Then


class ScriptedClient:
    """What a link needs of an official client."""

    is_reopening = False

    def __init__(self) -> None:
        self.is_open = True

    def connected_members(self) -> set[int]:
        return {1} if self.is_open else set()

    def waits_in_constructor(self, service: str, name: str) -> bool:
        return False

    def create_proxy(self, service: str, name: str) -> Future[object]:
        return ImmediateFuture(object())


class Script:
    """Loses an operation by its steps, and records where it was started."""

    def __init__(self, steps: tuple[Step, ...], route: Route) -> None:
        self.steps = list(steps)
        self.starts: list[tuple[int, bool]] = []  # data of the link, and whether it may have run
        self.route = route
        route.publish(new_link(_A))

    def start(self, real: object, link: Link) -> Any:
        if not self.steps:
            self.starts.append((link.data_id, True))
            return ImmediateFuture("done")
        step = self.steps.pop(0)
        self.starts.append((link.data_id, step.lost is Lost.AFTER))
        if step.then is Then.OFFLINE:
            self.route.offline("nobody is there")
        elif step.then is not Then.SAME_LINK:
            self.route.publish(new_link(_A if step.then is Then.A else _B))
        link.client.is_open = step.then is Then.SAME_LINK  # type: ignore[attr-defined]
        if step.lost is Lost.REFUSED:
            return ImmediateExceptionFuture(ClientOfflineError())
        error: Exception = TargetDisconnectedError("gone") if link.is_connected() else LinkEnded("gone")
        if step.lost is Lost.BEFORE:
            raise error
        return ImmediateExceptionFuture(error)


def new_link(data: int) -> Link:
    link = Link("cluster", data, ScriptedClient())  # type: ignore[arg-type]
    link.data_id = data
    return link


def sequences() -> Iterator[tuple[Step, ...]]:
    """Every sequence of up to three losses; being offline ends one."""
    on = [Step(lost, then) for lost in Lost for then in Then if then is not Then.OFFLINE]
    last = [Step(lost, then) for lost in Lost for then in Then]
    yield ()
    for length in range(3):
        for before in itertools.product(on, repeat=length):
            for end in last:
                yield (*before, end)


def may_repeat(idempotency: Idempotency, policy: Repeat, may_have_run_on: set[int], data: int) -> bool:
    """The documented rules, written again."""
    if not may_have_run_on:
        return True
    allowed = {
        Repeat.NONE: set[Idempotency](),
        Repeat.READS: {Idempotency.READ},
        Repeat.REPEATABLE: {Idempotency.READ, Idempotency.REPEATABLE, Idempotency.REPEATABLE_ELSEWHERE},
    }[policy]
    return idempotency in allowed and (
        idempotency is not Idempotency.REPEATABLE_ELSEWHERE or data not in may_have_run_on
    )


def expected(idempotency: Idempotency, policy: Repeat, steps: tuple[Step, ...]) -> tuple[list[int], object]:
    """Where an operation is started, and how it ends."""
    data, starts, may_have_run_on = _A, [], set[int]()
    for step in steps:
        starts.append(data)
        if step.lost is Lost.AFTER:
            may_have_run_on.add(data)
        if step.then is Then.OFFLINE:
            # It would have waited for the same cluster as well as for another one.
            repeatable = all(
                may_repeat(idempotency, policy, may_have_run_on, cluster) for cluster in (_A, _B)
            )
            return starts, ClientOfflineException if repeatable else OperationOutcomeUnknown
        data = {Then.A: _A, Then.B: _B, Then.SAME_LINK: data}[step.then]
        if not may_repeat(idempotency, policy, may_have_run_on, data):
            return starts, OperationOutcomeUnknown
    return [*starts, data], "done"


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return type(error)


@pytest.fixture(autouse=True)
def without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeat_policy, "_PAUSE", 0.0)


@pytest.fixture
def completion() -> Iterator[SerialExecutor]:
    yield from _running("test-completion")


@pytest.fixture
def waiting() -> Iterator[SerialExecutor]:
    yield from _running("test-waiting")


def _running(name: str) -> Iterator[SerialExecutor]:
    executor = SerialExecutor(name)
    yield executor
    executor.stop()
    executor.join(5.0)


@pytest.mark.parametrize("way", ["run", "submit"])
@pytest.mark.parametrize("policy", Repeat)
@pytest.mark.parametrize("idempotency", _IDEMPOTENCIES)
def test_every_sequence_of_losses(
    idempotency: Idempotency, policy: Repeat, way: str, completion: SerialExecutor, waiting: SerialExecutor
) -> None:
    for steps in sequences():
        wanted = expected(idempotency, policy, steps)
        if len(wanted[0]) < len(steps):
            continue  # it ends before the last loss, so a shorter sequence covers it
        route = Route(lambda: None, lambda: "")
        script = Script(steps, route)
        operations = Operations(route, Options(repeat=policy), completion, waiting)
        operation = operations.operation(_KEY, "method", MethodTraits(idempotency), script.start)
        if way == "run":
            ended = outcome(lambda: operations.run(operation))  # noqa: B023
        else:
            ended = outcome(lambda: operations.submit(operation).result())  # noqa: B023
        starts = [data for data, _ in script.starts]
        assert (starts, ended) == wanted, steps
        check_safety(idempotency, policy, script.starts, steps)


@pytest.mark.parametrize("way", ["run", "submit"])
def test_refused_request_of_several(way: str, completion: SerialExecutor, waiting: SerialExecutor) -> None:
    """A method of several requests may have run although the official client refused to send one."""
    route = Route(lambda: None, lambda: "")
    script = Script((Step(Lost.REFUSED, Then.B),), route)
    operations = Operations(route, Options(), completion, waiting)
    key = ProxyKey("MultiMap", "hz:impl:multiMapService", "m")
    operation = operations.operation(key, "put_all", traits_of("MultiMap", "put_all"), script.start)
    with pytest.raises(OperationOutcomeUnknown, match="put_all"):
        operations.run(operation) if way == "run" else operations.submit(operation).result()
    assert len(script.starts) == 1


def check_safety(
    idempotency: Idempotency, policy: Repeat, starts: list[tuple[int, bool]], steps: tuple[Step, ...]
) -> None:
    """Whatever the rules are: what may have run is not run again where a second run would be noticed."""
    for (data, may_have_run), later in zip(starts, [starts[i + 1 :] for i in range(len(starts))]):  # noqa: B905
        if may_have_run and (idempotency is Idempotency.ONCE or policy is Repeat.NONE):
            assert not later, steps
        if may_have_run and idempotency is Idempotency.REPEATABLE_ELSEWHERE:
            assert data not in [other for other, _ in later], steps
