"""Ten thousand listeners: from a kill to the first answer of the next cluster, where all of them receive events."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.clusters import connected, official, pair, until
from benchmarks.table import Row, median
from flask_hazelcast_failover.testing import LocalCluster

__all__ = ["measure"]

_LISTENERS = 10_000


def measure(runs: int) -> list[Row]:
    """With all listeners on one map, and spread over many."""
    return [_killed(runs, maps) for maps in (1, 1000)]


def _killed(runs: int, maps: int) -> Row:
    took, own, members, registered = [], [], [], []
    for _ in range(runs):
        with pair() as (blue, green), connected(blue, green) as client:
            received: list[Any] = []
            _add(client, maps, received)
            until(lambda: len(client.control.connected_clusters()) == 2)
            own_before, member_before = time.process_time(), _cpu(green)
            began = time.perf_counter()
            blue.kill()
            _set(client)
            took.append(time.perf_counter() - began)
            own.append(time.process_time() - own_before)
            members.append(_cpu(green) - member_before)
            until(lambda: len(received) == _LISTENERS // maps)  # noqa: B023
            with official(green) as bare:
                began = time.perf_counter()
                _add(bare, maps, [])
                registered.append(time.perf_counter() - began)
    where = "one map" if maps == 1 else f"{maps:,} maps"
    return Row(
        f"killed, {_LISTENERS:,} listeners on {where} → first answer, which all of them hear",
        f"{median(took):.1f} s; processor time {median(own):.1f} s here, {median(members):.1f} s of the member",
        f"the official client registers so many in {median(registered):.1f} s",
        "≤ 3 s",
    )


def _add(client: Any, maps: int, received: list[Any]) -> None:
    entries = [client.get_map(f"bench {number}") for number in range(maps)]
    adding = [entries[n % maps].add_entry_listener(added_func=received.append) for n in range(_LISTENERS)]
    for future in adding:
        future.result()


def _set(client: Any) -> None:
    """Run an operation, again after a time-out, until it succeeds."""
    entries = client.get_map("bench 0").blocking()
    deadline = time.monotonic() + 60
    while True:
        try:
            entries.set("key", 1)
        except Exception:
            if time.monotonic() > deadline:
                raise
        else:
            return


def _cpu(cluster: LocalCluster) -> float:
    """Return the seconds of processor time of a cluster's first member; 0 where there is no /proc."""
    try:
        stat = Path(f"/proc/{cluster.members[0].pid}/stat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / float(os.sysconf("SC_CLK_TCK"))
