"""What the processes of a fleet leave on the clusters for each other, as values and as text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

__all__ = [
    "Desired",
    "Order",
    "OrderSource",
    "ReachabilityAnswer",
    "ReachabilityQuestion",
    "WorkerRecord",
    "by_majority",
    "for_all",
    "for_some",
]


@dataclass(frozen=True)
class ReachabilityQuestion:
    """Can these processes reach a cluster? Those without standby have to try before they know.

    :param id: no other question has it
    """

    id: str
    label: str
    workers: tuple[str, ...]

    def as_text(self) -> str:
        """As it is kept on a cluster."""
        return json.dumps(dataclasses.astuple(self))

    @classmethod
    def from_text(cls, text: object) -> ReachabilityQuestion | None:
        """The question, or ``None`` for anything else, which another version may have left."""
        try:
            question, label, workers = json.loads(text)  # type: ignore[arg-type]
            return cls(str(question), str(label), tuple(str(worker) for worker in workers))
        except (TypeError, ValueError):
            return None


@dataclass(frozen=True)
class ReachabilityAnswer:
    """What a process found out.

    :param question: id of the question
    """

    question: str
    can_reach: bool


@dataclass(frozen=True)
class WorkerRecord:
    """One serving process: where it is and where it could be.

    :param reach: labels of the clusters that it is connected to, or would have to try
    :param beat: a number that rises with each writing, so that others see that it lives
    :param has_to_try: whether it knows which clusters it can reach only once it has tried
    :param answers: to the last questions that it was asked
    """

    id: str
    host: str
    pid: int
    current_cluster: str | None
    epoch: int
    reach: tuple[str, ...] = ()
    beat: int = field(default=0, compare=False)
    has_to_try: bool = False
    answers: tuple[ReachabilityAnswer, ...] = ()

    def as_text(self) -> str:
        """As it is kept on a cluster."""
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
        """The record, or ``None`` for anything else, which another version may have left."""
        try:
            worker, host, pid, current, epoch, reach, beat, tries, answers = json.loads(text)  # type: ignore[arg-type]
            if current is not None:
                current = str(current)
            labels = tuple(str(label) for label in reach)
            said = tuple(ReachabilityAnswer(str(question), bool(can)) for question, can in answers)
            return cls(
                str(worker), str(host), int(pid), current, int(epoch), labels, int(beat), bool(tries), said
            )
        except (TypeError, ValueError):
            return None


class OrderSource(IntEnum):
    """Where an order comes from. Of two of the same generation, the greater wins."""

    NOBODY = 0
    """A fleet begins: what an earlier one of the same name wanted is over."""
    MAJORITY = 1
    """Most processes were there anyway."""
    FAILBACK = 2
    """A process found a better cluster fit to return to."""
    COMMAND = 3
    """Somebody asked for it."""


@dataclass(frozen=True)
class Order:
    """Where a fleet, or one of its processes, shall be.

    :param label: of the cluster; ``None`` where each may be where it is
    :param by: who wishes it
    :param holds: whether to stay there, without automatic failback
    """

    generation: int
    label: str | None
    by: str
    origin: OrderSource
    holds: bool = False

    @property
    def is_asked_for(self) -> bool:
        """Whether processes that are elsewhere shall act on it."""
        return self.origin >= OrderSource.FAILBACK and self.label is not None

    @classmethod
    def from_values(cls, values: Sequence[Any]) -> Order:
        """The order from what JSON made of it. Raises ``TypeError`` or ``ValueError`` if it is none."""
        generation, label, by, origin, holds = values
        label = None if label is None else str(label)
        return cls(int(generation), label, str(by), OrderSource(origin), bool(holds))


@dataclass(frozen=True)
class Desired:
    """What is wanted: one order for the whole fleet, and others for processes that were sent elsewhere.

    The highest generation wins; each order has the generation that it was given in.
    """

    generation: int
    fleet: Order
    apart: Mapping[str, Order] = field(default_factory=dict)

    def is_newer_than(self, other: Desired | None) -> bool:
        """Whether it wins; all processes agree on that."""
        if other is None or self.generation != other.generation:
            return other is None or self.generation > other.generation
        return self != other and self._rank > other._rank

    def order_for(self, worker: str) -> Order:
        """The order that one process goes by."""
        return self.apart.get(worker, self.fleet)

    def as_text(self) -> str:
        """As it is kept on a cluster: equal wishes have equal texts."""
        apart = {worker: dataclasses.astuple(order) for worker, order in self.apart.items()}
        return json.dumps([self.generation, dataclasses.astuple(self.fleet), apart], sort_keys=True)

    def as_dict(self) -> dict[str, Any]:
        """As the status shows it."""
        return {"generation": self.generation, "label": self.fleet.label, "by": self.fleet.by}

    @classmethod
    def from_text(cls, text: object) -> Desired | None:
        """What is wanted, or ``None`` for anything else, which another version may have left."""
        try:
            generation, fleet, apart = json.loads(text)  # type: ignore[arg-type]
            orders = {str(worker): Order.from_values(values) for worker, values in apart.items()}
            return cls(int(generation), Order.from_values(fleet), orders)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def _rank(self) -> tuple[int, str]:
        newest = max([self.fleet, *self.apart.values()], key=lambda order: order.generation)
        return newest.origin, self.as_text()


def for_all(
    last: Desired | None, label: str | None, by: str, origin: OrderSource, *, holds: bool = False
) -> Desired:
    """What is wanted after ``last``: all processes on one cluster."""
    generation = _generation_after(last)
    return Desired(generation, Order(generation, label, by, origin, holds))


def by_majority(last: Desired | None, label: str) -> Desired:
    """What is wanted after ``last`` because most processes are there. Whoever sees that writes the same."""
    generation = _generation_after(last)
    holds = last is not None and last.fleet.holds
    order = Order(generation, label, "the majority", OrderSource.MAJORITY, holds)
    apart = {} if last is None else {worker: own for worker, own in last.apart.items() if own.label != label}
    return Desired(generation, order, apart)


def for_some(
    last: Desired | None, workers: Iterable[str], label: str, by: str, *, usual: str | None, holds: bool
) -> Desired:
    """What is wanted after ``last``: some processes on a cluster, the others left in peace.

    :param usual: where the others are, if nothing was wanted before
    """
    generation = _generation_after(last)
    fleet = last.fleet if last is not None else Order(0, usual, by, OrderSource.MAJORITY)
    order = Order(generation, label, by, OrderSource.COMMAND, holds)
    apart = dict(last.apart) if last is not None else {}
    return Desired(generation, fleet, apart | dict.fromkeys(workers, order))


def _generation_after(last: Desired | None) -> int:
    return 1 if last is None else last.generation + 1
