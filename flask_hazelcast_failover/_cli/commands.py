"""``flask hazelcast``: what an operator types at three in the morning, and what a cron job runs.

Commands read as a client of their own; ``switch`` and ``reset`` act on the processes of the named
fleet. Exit codes: 0 well, 1 degraded, 2 down or refused.
"""

from __future__ import annotations

import getpass
import json
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import click
from flask.cli import AppGroup

from flask_hazelcast_failover._app_state import current_state
from flask_hazelcast_failover._cli.drill import Inspection, inspect_clusters, pluralize, warnings_of
from flask_hazelcast_failover._fleet_control import (
    CommandResult,
    Precondition,
    SwitchCommand,
    TargetUnreachable,
    UnknownTarget,
)
from flask_hazelcast_failover.errors import ClientOfflineException

if TYPE_CHECKING:
    from flask_hazelcast_failover.client.status import ClientStatus

__all__ = ["ExitCode", "commands"]

commands = AppGroup("hazelcast", help="See and steer the Hazelcast clusters of this app.")

# How long a command waits for clusters that stand by and for the first latencies, seconds.
_SETTLING = 4.0
# How long it waits for the end of the client's first search, seconds; an operation would give up before.
_LONGEST_SEARCH = 60.0
# How often a command that takes long says so, seconds.
_PROGRESS = 1.0

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_force = click.option("--force", is_flag=True, help="Also if not every process can reach the cluster.")


class ExitCode(IntEnum):
    """What a command's exit code says, as Nagios reads it too."""

    OK = 0
    DEGRADED = 1
    DOWN = 2


_COLOURS = {ExitCode.OK: "green", ExitCode.DEGRADED: "yellow", ExitCode.DOWN: "red"}


@commands.command()
@_as_json
def status(as_json: bool) -> None:
    """Show the clusters, the switches and the fleet."""
    found = _connected_status()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    code, sentence = _judgement(found)
    click.secho(sentence, fg=_COLOURS[code], bold=True)
    click.echo(_table(_CLUSTER_COLUMNS, [_cluster_row(cluster) for cluster in found["clusters"]]))
    fleet = found["fleet"]
    split = click.style(" (split)", fg="red") if fleet["split"] else ""
    if current_state().settings.fleet is None:
        click.echo("\nprocesses: unknown, without HAZELCAST_FAILOVER_FLEET a shell cannot know them")
    else:
        click.echo(f"\nfleet {fleet['name']}: {len(fleet['workers'])} processes{split}")
    if fleet["workers"]:
        click.echo(_table(_WORKER_COLUMNS, [_worker_row(worker) for worker in fleet["workers"]]))


@commands.command()
@_as_json
def check(as_json: bool) -> None:
    """Exit with 0 on the primary, 1 elsewhere, 2 when down: of the named fleet if there is one."""
    code, sentence = _judgement(_connected_status())
    if as_json:
        click.echo(json.dumps({"status": code.name.lower(), "message": sentence}))
    else:
        click.echo(f"HAZELCAST {code.name} - {sentence}")
    raise SystemExit(int(code))


@commands.command()
@click.argument("label")
@_force
@_as_json
def switch(label: str, force: bool, as_json: bool) -> None:
    """Move every process of the named fleet to the cluster LABEL."""
    _steer(label, force, as_json)


@commands.command()
@_force
@_as_json
def reset(force: bool, as_json: bool) -> None:
    """Move every process of the named fleet back to the cluster of the highest priority."""
    _steer(None, force, as_json)


@commands.command()
@_as_json
def drill(as_json: bool) -> None:
    """Try every cluster: is it fit to take over, and what would a switch to it bring?"""
    app = current_state()
    inspections = []
    with _progress("trying the clusters"):
        for inspection in inspect_clusters(app.client.failover, app.settings.client_keywords()):
            inspections.append(inspection)
            if not as_json:
                click.echo(_inspection_line(inspection))
    warnings = warnings_of(inspections, _here())
    fit = all(inspection.is_fit for inspection in inspections)
    if as_json:
        plain = [inspection.as_dict() for inspection in inspections]
        click.echo(json.dumps({"fit": fit, "clusters": plain, "warnings": warnings}, indent=2))
    else:
        for warning in warnings:
            click.secho(f"warning: {warning}", fg="yellow")
        verdict = "every cluster is fit to take over" if fit else "not every cluster is fit to take over"
        click.secho(verdict, fg="green" if fit else "red", bold=True)
    raise SystemExit(int(ExitCode.OK if fit else ExitCode.DOWN))


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Say each second that it still takes its time, to people who look on and to no log of a cron job."""
    if not sys.stderr.isatty():
        yield
        return
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(_PROGRESS):
            click.echo(f"{what} ... {time.monotonic() - began:.0f} s", err=True)

    teller = threading.Thread(target=tell, name="hazelcast-failover-progress", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()


def _connected_status() -> dict[str, Any]:
    """The status once it is known: connected or not, every cluster tried, the first latencies measured."""
    app = current_state()
    why = {}
    with _progress("looking at the clusters"):
        try:
            app.client.cluster_service.get_members()
        except ClientOfflineException as error:
            why = {"why": str(error)}
        # Without standby one cluster is tried after the other, each for as long as it may take.
        _wait(lambda: app.client.status().state != "switching", _LONGEST_SEARCH)
        _wait(lambda: _is_settled(app.client.status()), _SETTLING)
        found = app.steering.status()
        return found if found["state"] == "connected" else found | why


def _wait(is_over: Callable[[], bool], seconds: float) -> None:
    """Wait for something, and no longer than so many seconds."""
    end = time.monotonic() + seconds
    while not is_over() and time.monotonic() < end:
        time.sleep(0.05)


def _is_settled(status: ClientStatus) -> bool:
    """Whether each cluster is known to be up, with its latency, or known to be down."""
    return all(
        cluster.last_error is not None or (cluster.members > 0 and cluster.latency_ms is not None)
        for cluster in status.clusters
    )


def _places(found: Mapping[str, Any]) -> list[str | None]:
    """Where the processes of the named fleet are; without a name a command cannot know them."""
    workers = found["fleet"]["workers"] if current_state().settings.fleet is not None else []
    return [worker["current_cluster"] for worker in workers]


def _here() -> str | None:
    """Where most processes of the named fleet are; without one, where this command got to."""
    found = _connected_status()
    places: list[str | None] = [place for place in _places(found) if place is not None]
    here: str | None = found["current_cluster"]
    return statistics.mode(places or [here])


def _judgement(found: Mapping[str, Any]) -> tuple[ExitCode, str]:
    """How things stand: for the processes of the named fleet, else for this command's own connection."""
    if found["state"] != "connected":
        return ExitCode.DOWN, str(found.get("why", f"the client is {found['state']}"))
    primary = found["clusters"][0]["label"]
    here, fleet = found["current_cluster"], current_state().settings.fleet
    places = _places(found)
    if not places:
        if fleet is not None:
            return ExitCode.DEGRADED, f"no process of fleet {fleet} can be found; {here} can be reached"
        if here == primary:
            return ExitCode.OK, f"{here} (primary) can be reached"
        return ExitCode.DEGRADED, f"only {here} can be reached, not {primary} (primary)"
    spread = ", ".join(f"{places.count(place)} on {place or 'none'}" for place in dict.fromkeys(places))
    sentence = f"fleet {found['fleet']['name']}: {spread}; {primary} is primary"
    if all(place is None for place in places):
        return ExitCode.DOWN, sentence
    return ExitCode.OK if set(places) == {primary} else ExitCode.DEGRADED, sentence


def _steer(label: str | None, force: bool, as_json: bool) -> None:
    app = current_state()
    if app.settings.fleet is None and not app.steering.status()["fleet"]["workers"]:
        _fail(
            "this command cannot know the processes of your server: give them and this shell the same"
            " HAZELCAST_FAILOVER_FLEET, or use POST on the admin routes of the app"
        )
    precondition = Precondition.NONE if force else Precondition.ALL_CAN_REACH_IT
    try:
        with _progress("moving the fleet"):
            app.client.start()
            outcome = app.steering.carry_out(SwitchCommand(label, by=_who(), precondition=precondition))
    except UnknownTarget as error:
        _fail(str(error))
    except TargetUnreachable as error:
        _fail(f"nothing has changed: {error}. --force moves those who can reach it")
    except ClientOfflineException as error:
        _fail(str(error))
    if not outcome.told:
        _fail(f"no process of fleet {app.settings.fleet} can be found, nothing has changed")
    _tell(outcome, as_json)
    raise SystemExit(int(ExitCode.DEGRADED if outcome.missing else ExitCode.OK))


def _tell(outcome: CommandResult, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(outcome.as_dict()))
        return
    click.echo(f"{len(outcome.done)} of {len(outcome.told)} processes are there")
    for worker in outcome.missing:
        click.secho(f"missing: {worker}", fg="red")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = "somebody"
    return f"{user}@{socket.gethostname()} (command line)"


def _fail(message: str) -> NoReturn:
    click.secho(message, fg="red", err=True)
    raise SystemExit(int(ExitCode.DOWN))


_CLUSTER_COLUMNS = ("cluster", "state", "members", "latency", "addresses", "remarks")
_WORKER_COLUMNS = ("process", "host", "pid", "cluster", "epoch")


def _cluster_row(cluster: Mapping[str, Any]) -> list[str]:
    remarks = [word for word in ("impaired", "restarted") if cluster[word]]
    latency = "" if cluster["latency_ms"] is None else f"{cluster['latency_ms']:.1f} ms"
    return [
        cluster["label"],
        cluster["state"],
        str(cluster["members"]),
        latency,
        " ".join(cluster["addresses"]),
        ", ".join([*remarks, cluster["last_error"] or ""]).strip(", "),
    ]


def _worker_row(worker: Mapping[str, Any]) -> list[str]:
    return [
        worker["id"],
        worker["host"],
        str(worker["pid"]),
        worker["current_cluster"] or "none",
        str(worker["epoch"]),
    ]


def _inspection_line(inspection: Inspection) -> str:
    if not inspection.is_fit:
        return click.style(f"{inspection.label}: not fit: {inspection.problem}", fg="red")
    return (
        f"{inspection.label}: fit, {inspection.latency_ms:.1f} ms, {pluralize(inspection.members, 'member', 'members')},"
        f" version {inspection.version}, {pluralize(inspection.entries, 'entry', 'entries')} in its maps"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (columns, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)
