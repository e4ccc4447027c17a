"""``python -m benchmarks [NAME …] [--runs N]``: print a table of figures, each beside a peer's in the same run."""

from __future__ import annotations

import argparse
import logging
import platform
import warnings
from collections.abc import Callable, Mapping

import hazelcast

from benchmarks import cost, failover, listeners, redis_peer, served, threads
from benchmarks.table import Row, print_table

BENCHMARKS: Mapping[str, Callable[[int], list[Row]]] = {
    "cost": cost.measure,
    "threads": threads.measure,
    "kill": failover.measure_kill,
    "redis": redis_peer.measure,
    "freeze": failover.measure_freeze,
    "listeners": listeners.measure,
    "graceful": failover.measure_graceful,
    "nothing": failover.measure_nothing,
    "served": served.measure,
}


def main() -> None:
    """Run the chosen benchmarks, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--runs", type=int, default=3, help="number of runs that medians are over")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there is {', '.join(BENCHMARKS)}")
    for name in ("hazelcast", "flask_hazelcast_failover", "redis"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "MultiDBClient is an experimental")
    rows: list[Row] = []
    for name in arguments.names or BENCHMARKS:
        rows += BENCHMARKS[name](arguments.runs)
    print(f"Python {platform.python_version()}, hazelcast-python-client {hazelcast.__version__},")
    print(f"{platform.machine()}, medians over {arguments.runs} runs\n")
    print_table(rows)


if __name__ == "__main__":
    main()
