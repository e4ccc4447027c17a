"""The health part of a cluster's record: what its members' checks say, and when that means that it is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

# A member that answers pings, and no checks, is lost only after so many times as many failures.
_PINGS_ONLY = 6


class Failures(NamedTuple):
    """A member's failed health checks in a row: those in which it was silent, and those in which it answered pings.

    ``since``: when the first of them was sent, monotonic seconds. ``error``: the Java error that the member met last.
    """

    silent: int = 0
    pings_only: int = 0
    since: float | None = None
    error: str | None = None

    def exceed(self, limit: int) -> bool:
        """Whether they are ``limit`` or more; six times as many while the member answers pings."""
        return self.silent >= limit or self.silent + self.pings_only >= _PINGS_ONLY * limit


@dataclass
class ClusterHealth:
    """How the members of a connected cluster answer their checks."""

    latency: float | None = None  # of the slowest answer in the last report, seconds
    impaired: bool = False
    _members: int = 0  # as of the last report
    _failures: Mapping[UUID, Failures] = field(default_factory=dict)  # of the members that have some

    def reset(self) -> None:
        """Nothing is known: the link is new, or gone."""
        self.latency = None
        self.impaired = False
        self._failures = {}

    def report(
        self, members: frozenset[UUID], failures: Mapping[UUID, Failures], latency: float | None
    ) -> None:
        """Members have answered checks, or failed to; ``latency`` in seconds."""
        self._members = len(members)
        self._failures = {member: failed for member, failed in failures.items() if member in members}
        self.latency = self.latency if latency is None else latency

    def failing_since(self) -> float | None:
        """When the first check of those that failed in a row was sent, monotonic seconds."""
        sent = (failed.since for failed in self._failures.values())
        return min((since for since in sent if since is not None), default=None)

    def loss(self, others: Iterable[ClusterHealth], limit: int) -> str | None:
        """Why the cluster counts as lost, if it does; else whether it is impaired is noted.

        When others fail as well, this process or its network is the first suspect: twice as many failures are
        needed to believe it.

        :param limit: ``health_check_failures``
        """
        needed = 2 * limit if any(other._is_half_gone(1) for other in others) else limit
        if not self._is_half_gone(needed):
            answer_pings_only = any(failed.pings_only for failed in self._failures.values())
            self.impaired = answer_pings_only or bool(self._failing(limit))
            return None
        failing = self._failing(needed)
        who = f"{len(failing)} of {self._members} members"
        if all(failed.silent >= needed for failed in failing):
            return f"{who} failed {needed} health checks"
        errors = sorted({failed.error for failed in failing if failed.error})
        why = f" ({', '.join(errors)})" if errors else ""
        return f"{who} answered pings and failed {_PINGS_ONLY * needed} health checks{why}"

    def _failing(self, limit: int) -> list[Failures]:
        return [failed for failed in self._failures.values() if failed.exceed(limit)]

    def _is_half_gone(self, limit: int) -> bool:
        gone = len(self._failing(limit))
        return gone > 0 and 2 * gone >= self._members
