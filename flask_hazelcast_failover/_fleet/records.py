"""What the workers of a fleet store on the clusters for each other, as values and as JSON.

Other releases read the JSON: its fields keep their order, and what cannot be parsed is ignored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


@dataclass(frozen=True)
class ReachabilityQuestion:
    """Asks workers without standby whether they can reach a cluster: they have to try before they know.

    :param id: unique
    """

    id: str
    label: str
    workers: tuple[str, ...]

    def as_text(self) -> str:
        """As it is stored on a cluster."""
        return json.dumps(dataclasses.astuple(self))

    @classmethod
    def from_text(cls, text: object) -> ReachabilityQuestion | None:
        """Parse a question; ``None`` if it is malformed."""
        try:
            question, label, workers = json.loads(text)  # type: ignore[arg-type]
            return cls(str(question), str(label), tuple(str(worker) for worker in workers))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class ReachabilityAnswer:
    """A worker's answer.

    :param question: id of the question
    """

    question: str
    can_reach: bool


@dataclass(frozen=True)
class WorkerRecord:
    """One serving worker: which cluster it is on and which it could use.

    :param reach: labels of the clusters that it is connected to, or would have to try
    :param heartbeat: a number that rises with each write, so that others see that it is alive
    :param has_to_try: whether it knows only after an attempt which clusters it can reach
    :param answers: to the last questions that it was asked
    """

    id: str
    host: str
    pid: int
    current_cluster: str | None
    epoch: int
    reach: tuple[str, ...] = ()
    heartbeat: int = field(default=0, compare=False)
    has_to_try: bool = False
    answers: tuple[ReachabilityAnswer, ...] = ()

    def as_text(self) -> str:
        """As it is stored on a cluster."""
        return json.dumps(dataclasses.astuple(self))

    def as_dict(self) -> dict[str, Any]:
        """As the status shows it."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "current_cluster": self.current_cluster,
            "epoch": self.epoch,
        }

    @classmethod
    def from_text(cls, text: object) -> WorkerRecord | None:
        """Parse a record; ``None`` if it is malformed."""
        try:
            worker, host, pid, current, epoch, reach, heartbeat, tries, answers = json.loads(text)  # type: ignore[arg-type]
            return cls(
                str(worker),
                str(host),
                int(pid),
                None if current is None else str(current),
                int(epoch),
                tuple(str(label) for label in reach),
                int(heartbeat),
                bool(tries),
                tuple(ReachabilityAnswer(str(question), bool(can)) for question, can in answers),
            )
        except (TypeError, ValueError):
            return None


class OrderSource(IntEnum):
    """Where an order comes from. Of two of the same generation, the greater wins."""

    NOBODY = 0
    """A new fleet begins: orders of an earlier one of the same name are void."""
    MAJORITY = 1
    """Most workers were there already."""
    FAILBACK = 2
    """A worker failed back to a cluster of higher priority."""
    COMMAND = 3
    """An operator or the app commanded it."""


@dataclass(frozen=True)
class Order:
    """The cluster that a fleet, or one of its workers, is to use.

    :param label: of the cluster; ``None`` where each worker may stay where it is
    :param by: who gave it
    :param holds: whether to stay there, without automatic failback
    """

    generation: int
    label: str | None
    by: str
    source: OrderSource
    holds: bool = False

    @property
    def is_binding(self) -> bool:
        """Whether workers that are elsewhere must switch."""
        return self.source >= OrderSource.FAILBACK and self.label is not None

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> Order:
        """Make an order from parsed JSON. Raises ``TypeError`` or ``ValueError`` if it is malformed."""
        generation, label, by, source, holds = values
        label = None if label is None else str(label)
        return cls(int(generation), label, str(by), OrderSource(source), bool(holds))


@dataclass(frozen=True)
class Desired:
    """The desired state: one order for the whole fleet, and orders of their own for single workers.

    The highest generation wins; each order has the generation that it was given in.
    """

    generation: int
    fleet: Order
    overrides: Mapping[str, Order] = field(default_factory=dict)

    def is_newer_than(self, other: Desired | None) -> bool:
        """Whether it wins; all workers agree on that."""
        if other is None or self.generation != other.generation:
            return other is None or self.generation > other.generation
        return self != other and self._rank > other._rank

    def order_for(self, worker: str) -> Order:
        """The order for one worker."""
        return self.overrides.get(worker, self.fleet)

    def as_text(self) -> str:
        """As it is stored on a cluster: equal states have equal texts."""
        overrides = {worker: dataclasses.astuple(order) for worker, order in self.overrides.items()}
        return json.dumps([self.generation, dataclasses.astuple(self.fleet), overrides], sort_keys=True)

    def as_dict(self) -> dict[str, Any]:
        """As the status shows it."""
        return {"generation": self.generation, "label": self.fleet.label, "by": self.fleet.by}

    @classmethod
    def from_text(cls, text: object) -> Desired | None:
        """Parse a desired state; ``None`` if it is malformed."""
        try:
            generation, fleet, overrides = json.loads(text)  # type: ignore[arg-type]
            orders = {str(worker): Order.from_values(values) for worker, values in overrides.items()}
            return cls(int(generation), Order.from_values(fleet), orders)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def _rank(self) -> tuple[int, str]:
        newest = max([self.fleet, *self.overrides.values()], key=lambda order: order.generation)
        return newest.source, self.as_text()


def for_all(
    last: Desired | None, label: str | None, by: str, source: OrderSource, *, holds: bool = False
) -> Desired:
    """The desired state after ``last``: all workers on one cluster."""
    generation = _generation_after(last)
    return Desired(generation, Order(generation, label, by, source, holds))


def by_majority(last: Desired | None, label: str) -> Desired:
    """The desired state after ``last`` because most workers are there. Every worker that sees that writes the same."""
    generation = _generation_after(last)
    holds = last is not None and last.fleet.holds
    order = Order(generation, label, "the majority", OrderSource.MAJORITY, holds)
    kept = {} if last is None else {id_: own for id_, own in last.overrides.items() if own.label != label}
    return Desired(generation, order, kept)


def for_some(
    last: Desired | None, workers: Iterable[str], label: str, by: str, *, usual: str | None, holds: bool
) -> Desired:
    """The desired state after ``last``: some workers on a cluster, the others unaffected.

    :param usual: where the others are, if there is no ``last``
    """
    generation = _generation_after(last)
    fleet = last.fleet if last is not None else Order(0, usual, by, OrderSource.MAJORITY)
    order = Order(generation, label, by, OrderSource.COMMAND, holds)
    overrides = dict(last.overrides) if last is not None else {}
    return Desired(generation, fleet, overrides | dict.fromkeys(workers, order))


def _generation_after(last: Desired | None) -> int:
    return 1 if last is None else last.generation + 1
