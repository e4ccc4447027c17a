"""A drill: is each cluster fit to take over, and what would a switch to it bring?

A client of its own for each cluster writes, reads and deletes a probe entry and measures the latency. Warnings
say what a switch would bring, and where latency contradicts the priorities.
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

from ..client import HazelcastClient
from ..failover.view import FailoverView

_PROBE_MAP = "hazelcast-failover-drill"
_PROBE_TTL = 60
_READS = 25
# A cluster of lower priority must be faster by this factor and this many milliseconds to be warned of.
_FACTOR, _LEAST_MS = 2.0, 1.0


@dataclass(frozen=True)
class Inspection:
    """What was found at one cluster.

    :param problem: why it is not fit to take over; ``None`` if it is
    """

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
            yield _inspect(cluster.label, cluster.priority, clusters, index, options)
        except (HazelcastError, TimeoutError) as error:
            yield Inspection(cluster.label, cluster.priority, str(error))


def warnings_of(inspections: Sequence[Inspection], current: str | None) -> list[str]:
    """What an operator should know before switching, one sentence each.

    :param current: label of the cluster that the app is on; if that is not fit, the first that is
    """
    fit = [inspection for inspection in inspections if inspection.is_fit]
    source = next((one for one in fit if one.label == current), fit[0] if fit else None)
    found: list[str] = []
    for position, inspection in enumerate(fit):
        if source is not None and inspection is not source:
            found += _loss(source, inspection)
        for lower in fit[position + 1 :]:
            found += _contradiction(inspection, lower)
    return found


def pluralize(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


def _loss(source: Inspection, target: Inspection) -> Iterator[str]:
    """What a switch from one to the other would lose."""
    if target.entries == 0 and source.entries > 0:
        entries = pluralize(source.entries, "entry", "entries")
        yield f"{target.label} is empty, {source.label} holds {entries}: after a switch the app starts with nothing"
    if target.members < source.members:
        members = pluralize(target.members, "member", "members")
        yield f"{target.label} has {members}, {source.label} has {source.members}"
    if target.version and source.version and _numbers(target.version) < _numbers(source.version):
        yield f"{target.label} runs {target.version}, {source.label} the newer {source.version}"


def _contradiction(higher: Inspection, lower: Inspection) -> Iterator[str]:
    fast, slow = lower.latency_ms, higher.latency_ms
    if fast is not None and slow is not None and slow > fast * _FACTOR and slow - fast > _LEAST_MS:
        yield (
            f"the priorities contradict the latency: {lower.label} answers in {fast:.1f} ms, {higher.label},"
            f" of higher priority, in {slow:.1f} ms"
        )


def _inspect(
    label: str, priority: int, clusters: FailoverView, index: int, options: Mapping[str, Any]
) -> Inspection:
    single = {**options, "try_count": 1, "standby": "cold", "health_check_interval": 0}
    single.pop("failback", None)
    with HazelcastClient(clusters.to_client_config(index), **single) as client:
        problem, latency = _probe(client)
        members = client.cluster_service.get_members()
        oldest = min((_version(member) for member in members), key=_numbers, default=None)
        return Inspection(label, priority, problem, latency, len(members), oldest, _entries(client))


def _probe(client: HazelcastClient) -> tuple[str | None, float]:
    probes: Any = client.control.get_plain_map(_PROBE_MAP).blocking()
    key, value = uuid.uuid4().hex, uuid.uuid4().hex
    probes.set(key, value, ttl=_PROBE_TTL)
    probes.get(key)  # the first answer on a new connection is slower than the next
    latencies = []
    for _ in range(_READS):
        began = time.perf_counter()
        read = probes.get(key)
        latencies.append((time.perf_counter() - began) * 1000)
        if read != value:
            return "a value that was just written was not read back", statistics.median(latencies)
    probes.delete(key)
    problem = "a deleted value was read back" if probes.contains_key(key) else None
    return problem, round(statistics.median(latencies), 3)


def _entries(client: HazelcastClient) -> int:
    maps = [found for found in client.get_distributed_objects() if isinstance(found, Map)]
    of_apps = [found for found in maps if not found.name.startswith("hazelcast-failover")]
    return sum(int(found.blocking().size()) for found in of_apps)


def _version(member: MemberInfo) -> str:
    version = member.version
    return f"{version.major}.{version.minor}.{version.patch}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
