"""``flask hazelcast``: the commands for operators and cron jobs.

Each reads over a client of its own; ``switch`` and ``reset`` act on the processes of the named fleet.
"""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from flask.cli import AppGroup

from .._app_state import current_state
from .._fleet_control import Precondition, SwitchCommand, TargetUnreachable, UnknownTarget
from .._foreign_text import MAX_NAME, printable
from .._printable_status import printable_status
from ..errors import ClientOfflineException
from .drill import inspect_clusters, warnings_of
from .output import cluster_table, fail, inspection_line, progress, worker_table
from .verdict import ExitCode, usual_cluster, verdict

if TYPE_CHECKING:
    from ..client.status import ClientStatus

commands = AppGroup("hazelcast", help="See and steer the Hazelcast clusters of this app.")

# How long a command waits for standby connections and the first latencies, seconds.
_SETTLE_TIMEOUT = 4.0
# How long it waits for the end of the client's first search, seconds; an operation would give up before.
_SEARCH_TIMEOUT = 60.0
_POLL_INTERVAL = 0.05

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_force = click.option("--force", is_flag=True, help="Also if not every process can reach the cluster.")


@commands.command()
@_as_json
def status(as_json: bool) -> None:
    """Show the clusters, the switches and the fleet."""
    found = _connected_status()
    if as_json:
        click.echo(json.dumps(printable_status(found), indent=2))
        return
    code, sentence = verdict(found, _fleet_name())
    click.secho(printable(sentence), fg=code.colour, bold=True)
    click.echo(cluster_table(found["clusters"]))
    fleet = found["fleet"]
    split = click.style(" (split)", fg="red") if fleet["split"] else ""
    if _fleet_name() is None:
        click.echo("\nprocesses: unknown, without HAZELCAST_FAILOVER_FLEET a shell cannot know them")
    else:
        click.echo(f"\nfleet {printable(fleet['name'], MAX_NAME)}: {len(fleet['workers'])} processes{split}")
    if fleet["workers"]:
        click.echo(worker_table(fleet["workers"]))


@commands.command()
@_as_json
def check(as_json: bool) -> None:
    """Exit with 0 on the primary, 1 elsewhere, 2 when down: of the named fleet if there is one."""
    code, sentence = verdict(_connected_status(), _fleet_name())
    sentence = printable(sentence)
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
    _switch_fleet(label, force, as_json)


@commands.command()
@_force
@_as_json
def reset(force: bool, as_json: bool) -> None:
    """Move every process of the named fleet back to the cluster of the highest priority."""
    _switch_fleet(None, force, as_json)


@commands.command()
@_as_json
def drill(as_json: bool) -> None:
    """Try every cluster: is it fit to take over, and what would a switch to it bring?"""
    app = current_state()
    inspections = []
    with progress("trying the clusters"):
        for inspection in inspect_clusters(app.client.failover, app.settings.client_keywords()):
            inspections.append(inspection)
            if not as_json:
                click.echo(inspection_line(inspection))
    usual = usual_cluster(_connected_status(), _fleet_name())
    warnings = [printable(warning) for warning in warnings_of(inspections, usual)]
    fit = all(inspection.is_fit for inspection in inspections)
    if as_json:
        plain = printable_status([inspection.as_dict() for inspection in inspections])
        click.echo(json.dumps({"fit": fit, "clusters": plain, "warnings": warnings}, indent=2))
    else:
        for warning in warnings:
            click.secho(f"warning: {warning}", fg="yellow")
        summary = "every cluster is fit to take over" if fit else "not every cluster is fit to take over"
        click.secho(summary, fg="green" if fit else "red", bold=True)
    raise SystemExit(int(ExitCode.OK if fit else ExitCode.DOWN))


def _switch_fleet(label: str | None, force: bool, as_json: bool) -> None:
    app = current_state()
    if _fleet_name() is None and not app.fleet_control.status()["fleet"]["workers"]:
        fail(
            "this command cannot know the processes of your server: give them and this shell the same"
            " HAZELCAST_FAILOVER_FLEET, or use POST on the admin routes of the app"
        )
    precondition = Precondition.NONE if force else Precondition.ALL_CAN_REACH_IT
    command = SwitchCommand(label, by=_caller(), precondition=precondition)
    try:
        with progress("moving the fleet"):
            app.client.start()
            result = app.fleet_control.carry_out(command)
    except TargetUnreachable as error:
        fail(f"nothing has changed: {error}. --force moves those who can reach it")
    except (UnknownTarget, ClientOfflineException) as error:
        fail(str(error))
    if not result.told:
        fail(f"no process of fleet {_fleet_name()} can be found, nothing has changed")
    if as_json:
        click.echo(json.dumps(printable_status(result.as_dict())))
    else:
        click.echo(f"{len(result.done)} of {len(result.told)} processes are there")
        for worker in result.missing:
            click.secho(f"missing: {printable(worker, MAX_NAME)}", fg="red")
    raise SystemExit(int(ExitCode.DEGRADED if result.missing else ExitCode.OK))


def _connected_status() -> dict[str, Any]:
    """The status once every cluster is either connected, with its latency, or known to be down."""
    app = current_state()
    why = {}
    with progress("looking at the clusters"):
        try:
            app.client.cluster_service.get_members()
        except ClientOfflineException as error:
            why = {"why": str(error)}
        # Without standby one cluster is tried after the other, each for as long as its timeout allows.
        _wait_until(lambda: app.client.status().state != "switching", _SEARCH_TIMEOUT)
        _wait_until(lambda: _is_settled(app.client.status()), _SETTLE_TIMEOUT)
        found = app.fleet_control.status()
        return found if found["state"] == "connected" else found | why


def _is_settled(status: ClientStatus) -> bool:
    return all(
        cluster.last_error is not None or (cluster.members > 0 and cluster.latency_ms is not None)
        for cluster in status.clusters
    )


def _wait_until(condition: Callable[[], bool], timeout: float) -> None:
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(_POLL_INTERVAL)


def _fleet_name() -> str | None:
    """The configured name; without one a command cannot know the processes of a server."""
    return current_state().settings.fleet


def _caller() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        user = "somebody"
    return printable(f"{user}@{socket.gethostname()} (command line)", MAX_NAME)
