"""Gets per second by many threads on one client, and what a lone get takes afterwards."""

from __future__ import annotations

import threading
import time
from typing import Any

from benchmarks.bare import bare_get
from benchmarks.clusters import connected, official, pair
from benchmarks.table import Row, median

__all__ = ["measure"]

_THREADS = (1, 2, 4, 8, 16, 64)
_SECONDS = 1.0


def measure(runs: int) -> list[Row]:
    """Fresh clients for each run, since the official one is slow for good once its waker is stuck."""
    rates: dict[tuple[str, int], list[float]] = {}
    lone: dict[str, list[float]] = {"ours": [], "theirs": [], "fresh": []}
    bare: list[float] = []
    with pair() as (blue, green):
        for _ in range(runs):
            with connected(blue, green) as client, official(blue) as other:
                for who, proxy in (("ours", client), ("theirs", other)):
                    get: Any = proxy.get_map("bench").blocking().get
                    if who == "ours":
                        lone["fresh"].append(_lone(get))
                    for threads in _THREADS:
                        rates.setdefault((who, threads), []).append(_rate(get, threads))
                    lone[who].append(_lone(get))
            with bare_get(blue) as exchange:
                bare.append(_rate(exchange, 8))
    rows = []
    for threads in _THREADS:
        ours, theirs = median(rates["ours", threads]), median(rates["theirs", threads])
        target = "≥ 2.5x" if threads == 8 else ""
        what = f"`get` by {threads} thread{'s' if threads > 1 else ''}"
        rows.append(
            Row(what, f"{ours:,.0f}/s, {ours / theirs:.1f}x", f"official client: {theirs:,.0f}/s", target)
        )
    most = f"{median(bare):,.0f}/s: sent and received by 8 threads, each on a connection of its own"
    rows.append(Row("the bytes of a `get`, without any client", "", most))
    ours, fresh = median(lone["ours"]), median(lone["fresh"])
    rows.append(
        Row(
            "a lone `get` afterwards",
            f"{ours * 1e6:.0f} µs, {ours / fresh:.2f}x a fresh one",
            f"official client: {median(lone['theirs']) * 1e6:,.0f} µs",
            "≤ 2x a fresh one",
        )
    )
    return rows


def _rate(get: Any, threads: int) -> float:
    counts = [0] * threads
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            get("key")
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    time.sleep(_SECONDS)
    stop.set()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - began)


def _lone(get: Any) -> float:
    took = []
    for _ in range(100):
        began = time.perf_counter()
        get("key")
        took.append(time.perf_counter() - began)
    return median(took)
