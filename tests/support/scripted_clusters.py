"""Clusters as a script has them: how each behaves, and the links to it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import Enum
from uuid import UUID

from flask_hazelcast_failover.client._controller.effects import LinkView
from flask_hazelcast_failover.client._controller.health import Failures
from flask_hazelcast_failover.client._known_cluster import KnownCluster

__all__ = ["QUICK", "Mode", "ScriptedCluster", "ScriptedLink", "scripted"]

QUICK = 0.01
"""How long what nothing delays takes, seconds."""

_numbers = itertools.count(1)


class Mode(Enum):
    """How a cluster behaves."""

    UP = "answers"
    ABSENT = "nobody listens, and what was open is closed"
    REFUSING = "refuses the client, and what was open is closed"
    SILENT = "neither answers nor closes anything"


@dataclass
class ScriptedCluster:
    """One cluster."""

    label: str
    mode: Mode = Mode.UP
    members: frozenset[UUID] = frozenset()
    addresses: tuple[str, ...] = ()
    failing: int = 0  # how many members fail their checks
    registers: bool = True  # whether listeners can be registered
    prepare_time: float = QUICK  # how long that takes, seconds
    ready: bool = True  # what the ready check says
    busy: int = 0  # operations that do not end
    dns_error: str | None = None

    @property
    def is_dns(self) -> bool:
        """Whether it is found by its name."""
        return self.label.startswith("dns")

    def replace_members(self, count: int = 3) -> None:
        """Give it members that were never there before, at other addresses."""
        numbers = [next(_numbers) for _ in range(count)]
        self.members = frozenset(UUID(int=number) for number in numbers)
        self.addresses = tuple(f"10.0.0.{number}:5701" for number in numbers)

    def restart_members(self) -> None:
        """Give it new members at the same addresses."""
        self.members = frozenset(UUID(int=next(_numbers)) for _ in self.members)
        self.mode = Mode.UP


@dataclass(eq=False)
class ScriptedLink:
    """One connection of the controller's."""

    index: int
    known: frozenset[UUID]
    addresses: frozenset[str]
    number: int
    opened_at: float
    epoch: int = 0
    data_id: int = 0
    visit_id: int = 0
    is_open: bool = True
    is_closed: bool = False  # by the controller
    is_prepared: bool = False
    failed_at: float | None = None  # when checks of it failed last
    failures: dict[UUID, Failures] = field(default_factory=dict)

    def members(self) -> frozenset[UUID]:
        return self.known

    def member_addresses(self) -> frozenset[str]:
        return self.addresses

    def known_cluster(self) -> KnownCluster:
        return KnownCluster(UUID(int=self.index), self.addresses)

    def is_connected(self) -> bool:
        return self.is_open

    def fail_checks(self, count: int, now: float) -> None:
        """Have so many members fail another check, and the others answer it."""
        failing = sorted(self.known)[:count]
        known = {member: self.failures.get(member, Failures(since=now)) for member in failing}
        self.failures = {
            member: failed._replace(silent=failed.silent + 1) for member, failed in known.items()
        }
        if failing:
            self.failed_at = now

    def __repr__(self) -> str:
        return f"<link {self.number} to {self.index}>"


def scripted(link: LinkView | None) -> ScriptedLink:
    """A link of the controller's as what it is here."""
    assert isinstance(link, ScriptedLink)
    return link
