"""The cost of one get beside the official client, on the same connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.clusters import connected, pair
from benchmarks.table import Row, median

__all__ = ["measure"]

_BLOCKS, _GETS = 40, 100


def measure(runs: int) -> list[Row]:
    """Alternate blocks of gets through our proxy and through the official one below it."""
    ratios, ours, theirs = [], [], []
    with pair() as (blue, green), connected(blue, green) as client:
        following: Any = client.get_map("bench").blocking()
        following.set("key", "value")
        official: Any = client.control.connected_clusters()["blue"].get_map("bench").blocking()
        for _ in range(runs):
            a, b = _alternating(lambda: following.get("key"), lambda: official.get("key"))
            ours.append(a)
            theirs.append(b)
            ratios.append(a / b)
    return [
        Row(
            "one `get`, one thread",
            f"{median(ours) * 1e6:.0f} µs, {median(ratios):.3f}x",
            f"official client, same connection: {median(theirs) * 1e6:.0f} µs",
            "≤ 1.02x",
        )
    ]


def _alternating(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    took: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for block in range(_BLOCKS):
        for call in (ours, theirs) if block % 2 else (theirs, ours):
            began = time.perf_counter()
            for _ in range(_GETS):
                call()
            took[call].append((time.perf_counter() - began) / _GETS)
    return median(took[ours]), median(took[theirs])
