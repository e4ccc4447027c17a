"""What the commands print besides JSON."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from .._foreign_text import MAX_NAME, printable
from .drill import Inspection, pluralize
from .verdict import ExitCode

_PROGRESS_INTERVAL = 1.0


def cluster_table(clusters: Sequence[Mapping[str, Any]]) -> str:
    """The clusters of a status as a table."""
    columns = ("cluster", "state", "members", "latency", "addresses", "remarks")
    return _table(columns, [_cluster_row(cluster) for cluster in clusters])


def worker_table(workers: Sequence[Mapping[str, Any]]) -> str:
    """The processes of a fleet as a table."""
    rows = [
        (
            _name(worker["id"]),
            _name(worker["host"]),
            _name(str(worker["pid"])),
            _name(worker["current_cluster"] or "none"),
            _name(str(worker["epoch"])),
        )
        for worker in workers
    ]
    return _table(("process", "host", "pid", "cluster", "epoch"), rows)


def inspection_line(inspection: Inspection) -> str:
    """What a drill has found at one cluster."""
    if not inspection.is_fit:
        return click.style(printable(f"{inspection.label}: not fit: {inspection.problem}"), fg="red")
    members = pluralize(inspection.members, "member", "members")
    entries = pluralize(inspection.entries, "entry", "entries")
    return printable(
        f"{inspection.label}: fit, {inspection.latency_ms:.1f} ms, {members},"
        f" version {inspection.version}, {entries} in its maps"
    )


def fail(message: str) -> NoReturn:
    """Print an error and exit."""
    click.secho(printable(message), fg="red", err=True)
    raise SystemExit(int(ExitCode.DOWN))


@contextmanager
def progress(activity: str) -> Iterator[None]:
    """Print each second how long the block has taken, on a terminal only: a cron job would mail it."""
    if not sys.stderr.isatty():
        yield
        return
    began, is_over = time.monotonic(), threading.Event()

    def report() -> None:
        while not is_over.wait(_PROGRESS_INTERVAL):
            click.echo(f"{activity} ... {time.monotonic() - began:.0f} s", err=True)

    reporter = threading.Thread(target=report, name="hazelcast-failover-progress", daemon=True)
    reporter.start()
    try:
        yield
    finally:
        is_over.set()
        reporter.join()


def _cluster_row(cluster: Mapping[str, Any]) -> list[str]:
    remarks = [remark for remark in ("impaired", "restarted") if cluster[remark]]
    return [
        _name(cluster["label"]),
        cluster["state"],
        str(cluster["members"]),
        "" if cluster["latency_ms"] is None else f"{cluster['latency_ms']:.1f} ms",
        printable(" ".join(cluster["addresses"])),
        printable(", ".join([*remarks, cluster["last_error"] or ""]).strip(", ")),
    ]


def _name(text: str) -> str:
    return printable(text, MAX_NAME)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (columns, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
