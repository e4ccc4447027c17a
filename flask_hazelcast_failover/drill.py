"""A drill: is each cluster fit to take over, and what would a switch to it bring?

It connects to every cluster by itself, writes, reads and deletes a probe there and measures how long
an answer takes. What a switch would bring, and where latency contradicts the priorities, is said as
a warning.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hazelcast.core import MemberInfo
from hazelcast.errors import HazelcastError
from hazelcast.proxy.map import Map

from flask_hazelcast_failover.client import HazelcastClient
from flask_hazelcast_failover.failover.view import FailoverView

__all__ = ["Inspection", "inspect_clusters", "warnings_of"]

_PROBE_MAP = "hazelcast-failover-drill"
_PROBE_SECONDS = 60
_GETS = 25
# How much faster a cluster of lower priority has to be before that is worth a word.
_FACTOR, _LEAST_MS = 2.0, 1.0


@dataclass(frozen=True)
class Inspection:
    """What was found at one cluster; ``problem`` is why it is not fit, if it is not."""

    label: str
    priority: int
    problem: str | None
    latency_ms: float | None = None
    members: int = 0
    version: str | None = None
    entries: int = 0

    @property
    def is_fit(self) -> bool:
        """Whether it can take over."""
        return self.problem is None

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, ready for JSON."""
        return asdict(self) | {"fit": self.is_fit}


def inspect_clusters(clusters: FailoverView, options: Mapping[str, Any]) -> Iterator[Inspection]:
    """Inspect every cluster, in order of priority.

    :param options: the options of a ``HazelcastClient``, for timeouts and client options
    """
    for index, cluster in enumerate(clusters.clusters):
        try:
            yield _inspected(cluster.label, cluster.priority, clusters, index, options)
        except (HazelcastError, TimeoutError) as error:
            yield Inspection(cluster.label, cluster.priority, str(error))


def warnings_of(inspections: Sequence[Inspection]) -> list[str]:
    """What an operator should know before switching, one sentence each."""
    fit = [inspection for inspection in inspections if inspection.is_fit]
    found: list[str] = []
    for position, higher in enumerate(fit):
        for lower in fit[position + 1 :]:
            found += _comparison(higher, lower)
    return found


def _comparison(higher: Inspection, lower: Inspection) -> Iterator[str]:
    if lower.entries == 0 and higher.entries > 0:
        yield (
            f"{lower.label} is empty, {higher.label} holds {higher.entries} entries: after a switch the app"
            " starts with nothing"
        )
    if lower.members < higher.members:
        yield f"{lower.label} has {lower.members} members, {higher.label} has {higher.members}"
    if lower.version and higher.version and _numbers(lower.version) < _numbers(higher.version):
        yield f"{lower.label} runs {lower.version}, {higher.label} the newer {higher.version}"
    fast, slow = lower.latency_ms, higher.latency_ms
    if fast is not None and slow is not None and slow > fast * _FACTOR and slow - fast > _LEAST_MS:
        yield (
            f"the priorities contradict the latency: {lower.label} answers in {fast:.1f} ms, {higher.label},"
            f" of higher priority, in {slow:.1f} ms"
        )


def _inspected(
    label: str, priority: int, clusters: FailoverView, index: int, options: Mapping[str, Any]
) -> Inspection:
    alone = {**options, "try_count": 1, "standby": "cold", "health_check_interval": 0}
    alone.pop("failback", None)
    with HazelcastClient(clusters.to_client_config(index), **alone) as client:
        problem, latency = _probed(client)
        members = client.cluster_service.get_members()
        oldest = min((_version(member) for member in members), key=_numbers, default=None)
        return Inspection(label, priority, problem, latency, len(members), oldest, _entries(client))


def _probed(client: HazelcastClient) -> tuple[str | None, float]:
    probe: Any = client.get_map(_PROBE_MAP).blocking()
    key, value = uuid.uuid4().hex, uuid.uuid4().hex
    probe.set(key, value, ttl=_PROBE_SECONDS)
    probe.get(key)  # the first answer of a new connection says little of the next
    took = []
    for _ in range(_GETS):
        began = time.perf_counter()
        read = probe.get(key)
        took.append((time.perf_counter() - began) * 1000)
        if read != value:
            return "a value that was just written was not read back", statistics.median(took)
    probe.delete(key)
    problem = "a deleted value was read back" if probe.contains_key(key) else None
    return problem, round(statistics.median(took), 3)


def _entries(client: HazelcastClient) -> int:
    maps = [found for found in client.get_distributed_objects() if isinstance(found, Map)]
    own = [found for found in maps if not found.name.startswith("hazelcast-failover")]
    return sum(int(found.blocking().size()) for found in own)


def _version(member: MemberInfo) -> str:
    version = member.version
    return f"{version.major}.{version.minor}.{version.patch}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
