"""What the workers of a fleet store on the clusters for each other, as values and as JSON.

Other releases read the JSON. Its fields keep their order; a later release only appends fields, and uses further keys. So
what follows the known fields of a list is ignored, at every level, and passed on as it is with the desired state.

Whoever can write to the cluster can write anything here. So every field is checked: its type, its range, and that a text
can be shown as it is. What does not pass is not read; nothing that is read can raise an error later.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, TypeVar

from .._foreign_text import is_name

HIGHEST = 2**53
"""The highest generation, heartbeat and process id: every JSON parser reads it exactly."""

# The longest text that is parsed, in characters. A desired state has an order for each worker that got one of its own.
_MAX_RECORD, _MAX_DESIRED = 65_536, 4_194_304
_ROUND = "round"

_Item = TypeVar("_Item")


class MalformedRecord(ValueError):
    """A stored text is not what this release, or a later one, writes."""


class HighestGeneration(Exception):
    """No order can follow the last one."""


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
    def from_text(cls, text: object) -> ReachabilityQuestion:
        """Parse a question. Raises :exc:`MalformedRecord`."""
        question, label, workers = _parsed(text, 3, _MAX_RECORD)[:3]
        return cls(_name(question), _name(label), _names(workers))


@dataclass(frozen=True)
class ReachabilityAnswer:
    """A worker's answer.

    :param question: id of the question
    """

    question: str
    can_reach: bool

    @classmethod
    def from_values(cls, values: object) -> ReachabilityAnswer:
        """Make an answer from parsed JSON. Raises :exc:`MalformedRecord`."""
        question, can_reach = _fields(values, 2)[:2]
        return cls(_name(question), _flag(can_reach))


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
    def from_text(cls, text: object) -> WorkerRecord:
        """Parse a record. Raises :exc:`MalformedRecord`."""
        worker, host, pid, current, epoch, reach, heartbeat, tries, answers = _parsed(text, 9, _MAX_RECORD)[
            :9
        ]
        return cls(
            _name(worker),
            _name(host),
            _number(pid),
            None if current is None else _name(current),
            _number(epoch),
            _names(reach),
            _number(heartbeat),
            _flag(tries),
            tuple(_readable(ReachabilityAnswer.from_values, _list(answers))),
        )


class OrderSource(IntEnum):
    """Where an order comes from. Of two of the same generation, the greater wins.

    The number of a source that a later release adds ranks as it is, and is else read as the weakest, ``NOBODY``.
    """

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
    :param source: the number of an ``OrderSource``, or one that only a later release knows
    :param holds: whether to stay there, without automatic failback
    """

    generation: int
    label: str | None
    by: str
    source: int
    holds: bool = False

    @property
    def is_binding(self) -> bool:
        """Whether workers that are elsewhere must switch."""
        return self.source in (OrderSource.FAILBACK, OrderSource.COMMAND) and self.label is not None

    @classmethod
    def from_values(cls, values: object) -> Order:
        """Make an order from parsed JSON. Raises :exc:`MalformedRecord`."""
        generation, label, by, source, holds = _fields(values, 5)[:5]
        label = None if label is None else _name(label)
        return cls(_number(generation), label, _name(by), _number(source), _flag(holds))


@dataclass(frozen=True)
class Desired:
    """The desired state: one order for the whole fleet, and orders of their own for single workers.

    The highest generation wins; each order has the generation that it was given in.

    :param round: rises when the generations begin at 1 again, after the highest one; a later round wins
    :param text: as it was read, with what a later release has appended
    """

    generation: int
    fleet: Order
    overrides: Mapping[str, Order] = field(default_factory=dict)
    round: int = 0
    text: str | None = field(default=None, compare=False, repr=False)

    def is_newer_than(self, other: Desired | None) -> bool:
        """Whether it wins; all workers agree on that."""
        if other is None:
            return True
        if self.round != other.round:
            # The rounds begin at 0 again after the last one, so half of them are ahead of each.
            return (self.round - other.round) % (HIGHEST + 1) <= HIGHEST // 2
        if self.generation != other.generation:
            return self.generation > other.generation
        return self != other and self._rank > other._rank

    def order_for(self, worker: str) -> Order:
        """The order for one worker."""
        return self.overrides.get(worker, self.fleet)

    def as_text(self) -> str:
        """As it is stored on a cluster: as it was read, or else equal states have equal texts."""
        return self.text if self.text is not None else self._own_text()

    def as_dict(self) -> dict[str, Any]:
        """As the status shows it."""
        return {"generation": self.generation, "label": self.fleet.label, "by": self.fleet.by}

    @classmethod
    def from_text(cls, text: object) -> Desired:
        """Parse a desired state.

        If only its generation can be read it binds nobody, and is not overwritten: a later release may know better.

        :raises MalformedRecord: its generation cannot be read
        """
        fields = _parsed(text, 1, _MAX_DESIRED)
        generation = _number(fields[0])
        nobody = Order(generation, None, "unknown", OrderSource.NOBODY)
        fleet = next(_readable(Order.from_values, fields[1:2]), nobody)
        overrides = fields[2] if len(fields) > 2 and isinstance(fields[2], dict) else {}
        rest = fields[3] if len(fields) > 3 and isinstance(fields[3], dict) else {}
        round_ = next(_readable(_number, [rest.get(_ROUND)]), 0)
        orders = dict(_readable(_own_order, overrides.items()))
        return cls(generation, fleet, orders, round_, str(text))

    def _own_text(self) -> str:
        overrides = {worker: dataclasses.astuple(order) for worker, order in self.overrides.items()}
        fields: list[Any] = [self.generation, dataclasses.astuple(self.fleet), overrides]
        if self.round:
            fields.append({_ROUND: self.round})
        return json.dumps(fields, sort_keys=True)

    @property
    def _rank(self) -> tuple[int, str]:
        newest = max([self.fleet, *self.overrides.values()], key=lambda order: order.generation)
        return newest.source, self._own_text()


class AtHighest(Enum):
    """What to do if the last generation is the highest one."""

    REFUSE = "raise HighestGeneration"
    BEGIN_AGAIN = "begin at 1 again"


def for_all(
    last: Desired | None,
    label: str | None,
    by: str,
    source: OrderSource,
    *,
    holds: bool = False,
    at_highest: AtHighest = AtHighest.REFUSE,
) -> Desired:
    """The desired state after ``last``: all workers on one cluster. Raises :exc:`HighestGeneration`."""
    round_, generation = _after(last, at_highest)
    return Desired(generation, Order(generation, label, by, source, holds), round=round_)


def by_majority(last: Desired | None, label: str) -> Desired:
    """The desired state after ``last`` because most workers are there. Every worker that sees that writes the same.

    Raises :exc:`HighestGeneration`.
    """
    round_, generation = _after(last, AtHighest.REFUSE)
    holds = last is not None and last.fleet.holds
    order = Order(generation, label, "the majority", OrderSource.MAJORITY, holds)
    kept = {} if last is None else {id_: own for id_, own in last.overrides.items() if own.label != label}
    return Desired(generation, order, kept, round_)


def for_some(
    last: Desired | None,
    workers: Iterable[str],
    label: str,
    by: str,
    *,
    usual: str | None,
    holds: bool,
    at_highest: AtHighest = AtHighest.REFUSE,
) -> Desired:
    """The desired state after ``last``: some workers on a cluster, the others unaffected.

    :param usual: where the others are, if there is no ``last``
    :raises HighestGeneration: ``last`` has the highest generation
    """
    round_, generation = _after(last, at_highest)
    fleet = last.fleet if last is not None else Order(0, usual, by, OrderSource.MAJORITY)
    overrides = dict(last.overrides) if last is not None else {}
    if last is not None and round_ != last.round:
        fleet, overrides = dataclasses.replace(fleet, generation=0), {}  # generations of the last round
    order = Order(generation, label, by, OrderSource.COMMAND, holds)
    return Desired(generation, fleet, overrides | dict.fromkeys(workers, order), round_)


def _after(last: Desired | None, at_highest: AtHighest) -> tuple[int, int]:
    """The round and the generation of the next order."""
    if last is None:
        return 0, 1
    if last.generation < HIGHEST:
        return last.round, last.generation + 1
    if at_highest is AtHighest.REFUSE:
        raise HighestGeneration(f"the last order has the highest generation, {HIGHEST}")
    return (last.round + 1) % (HIGHEST + 1), 1


def _parsed(text: object, count: int, longest: int) -> list[Any]:
    if not isinstance(text, str):
        raise MalformedRecord(f"a {type(text).__name__} instead of a text")
    if len(text) > longest:
        raise MalformedRecord(f"{len(text):,} characters, more than {longest:,}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedRecord(f"no JSON: {error}") from None
    return _fields(values, count)


def _fields(values: object, count: int) -> list[Any]:
    """The fields of a list: as many as this release writes, or more."""
    fields = _list(values)
    if len(fields) < count:
        raise MalformedRecord(f"{len(fields)} fields instead of {count}")
    return fields


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise MalformedRecord(f"a {type(value).__name__} instead of a list")
    return value


def _name(value: object) -> str:
    if not is_name(value):
        raise MalformedRecord("a name that is no text of 1 to 256 printable characters")
    return value


def _names(values: object) -> tuple[str, ...]:
    return tuple(_readable(_name, _list(values)))


def _own_order(item: tuple[str, object]) -> tuple[str, Order]:
    worker, values = item
    return _name(worker), Order.from_values(values)


def _readable(parse: Callable[[Any], _Item], values: Iterable[object]) -> Iterator[_Item]:
    """The items of a list that can be read: one that cannot may be of a later release, and hides no other."""
    for value in values:
        with contextlib.suppress(MalformedRecord):
            yield parse(value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST:
        raise MalformedRecord("a number that is not whole, or not from 0 to 2**53")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise MalformedRecord(f"a {type(value).__name__} instead of true or false")
    return value
