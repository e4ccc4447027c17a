"""The table that the benchmarks print."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Row", "median", "print_table"]


@dataclass(frozen=True)
class Row:
    """One figure, its peer in the same run, and its target."""

    what: str
    ours: str
    peer: str
    target: str = ""


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def print_table(rows: Sequence[Row]) -> None:
    """Print rows as a Markdown table."""
    print("| | this client | beside it | target |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.ours} | {row.peer} | {row.target} |")
