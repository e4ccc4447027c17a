"""Gets per second by many threads on one client, and the duration of a lone get afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.bare import bare_get
from benchmarks.clusters import connected, official, pair
from benchmarks.table import Row, median

__all__ = ["measure"]

_THREADS = (1, 2, 4, 8, 16, 64)
_MANY = 8
_SECONDS = 1.0


class _Load(NamedTuple):
    """Gets per second, and the seconds of processor time of this process for each."""

    rate: float
    computed: float


def measure(runs: int) -> list[Row]:
    """Use new clients for each run, since the official one stays slow once its waker is stuck.

    The order of the clients alternates, and the member is warmed up before.
    """
    loads: dict[tuple[str, int], list[_Load]] = {}
    lone: dict[str, list[float]] = {"ours": [], "theirs": [], "fresh": []}
    with pair() as (blue, green):
        with official(blue) as warm_up:
            _load(warm_up.get_map("bench").blocking().get, _MANY)
        for run in range(runs):
            with connected(blue, green) as client, official(blue) as other:
                both: list[tuple[str, Any]] = [("ours", client), ("theirs", other)]
                for name, measured in reversed(both) if run % 2 else both:
                    get: Any = measured.get_map("bench").blocking().get
                    if name == "ours":
                        lone["fresh"].append(_lone(get))
                    for threads in _THREADS:
                        loads.setdefault((name, threads), []).append(_load(get, threads))
                    lone[name].append(_lone(get))
            with bare_get(blue) as exchange:
                loads.setdefault(("bare", _MANY), []).append(_load(exchange, _MANY))
    rows = [_rates(threads, loads["ours", threads], loads["theirs", threads]) for threads in _THREADS]
    ours, theirs, bare = (loads[name, _MANY] for name in ("ours", "theirs", "bare"))
    rows.append(
        Row(
            f"computed for each by {_MANY} threads",
            f"{_computed(ours):.0f} µs",
            f"official client: {_computed(theirs):.0f} µs; its bytes sent and received without any client:"
            f" {_computed(bare):.0f} µs, {median([load.rate for load in bare]):,.0f}/s",
        )
    )
    after, fresh = median(lone["ours"]), median(lone["fresh"])
    rows.append(
        Row(
            "a lone `get` afterwards",
            f"{after * 1e6:.0f} µs, {after / fresh:.2f}x a fresh one",
            f"official client: {median(lone['theirs']) * 1e6:,.0f} µs",
            "≤ 2x a fresh one",
        )
    )
    return rows


def _rates(threads: int, ours: Sequence[_Load], theirs: Sequence[_Load]) -> Row:
    mine, other = (median([load.rate for load in loads]) for loads in (ours, theirs))
    return Row(
        f"`get` by {threads} thread{'s' if threads > 1 else ''}",
        f"{mine:,.0f}/s, {mine / other:.1f}x",
        f"official client: {other:,.0f}/s",
        "≥ 2.5x" if threads == _MANY else "",
    )


def _computed(loads: Sequence[_Load]) -> float:
    """Microseconds."""
    return median([load.computed for load in loads]) * 1e6


def _load(get: Any, threads: int) -> _Load:
    counts = [0] * threads
    stop = threading.Event()

    def work(number: int) -> None:
        while not stop.is_set():
            get("key")
            counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    began, computed = time.perf_counter(), time.process_time()
    for worker in workers:
        worker.start()
    time.sleep(_SECONDS)
    stop.set()
    for worker in workers:
        worker.join()
    done = sum(counts)
    return _Load(done / (time.perf_counter() - began), (time.process_time() - computed) / done)


def _lone(get: Any) -> float:
    took = []
    for _ in range(100):
        began = time.perf_counter()
        get("key")
        took.append(time.perf_counter() - began)
    return median(took)
