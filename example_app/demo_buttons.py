"""Buttons that kill and restart clusters. They exist only where the app has a control channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, abort, current_app, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from example_app import visitors
from example_app.control import Channel, ControlError, send_command
from example_app.extensions import ext
from flask_hazelcast_failover import ClientOfflineException

__all__ = ["init_app"]


_PAGE = "hazelcast_failover.page"  # exists only with an admin token


@dataclass(frozen=True)
class Button:
    """A button for one cluster: ``command`` is ``"kill"`` or ``"restart"``."""

    command: str
    cluster: str
    is_primary: bool
    is_current: bool


def init_app(app: Flask) -> None:
    """Add the buttons if the app's configuration has ``SHOP_CONTROL_PORT`` and ``SHOP_CONTROL_SECRET``."""
    port, secret = app.config.get("SHOP_CONTROL_PORT"), app.config.get("SHOP_CONTROL_SECRET")
    if port is not None and secret is not None:
        app.register_blueprint(_buttons_for(Channel(port, str(secret))))


def _buttons_for(channel: Channel) -> Blueprint:
    demo = Blueprint("demo", __name__, url_prefix="/demo")
    demo.before_request(visitors.check_form)

    @demo.post("/<any(kill, restart):command>/<cluster>")
    def kill_or_restart(command: str, cluster: str) -> ResponseReturnValue:
        if cluster not in _labels():
            abort(404)
        done = (
            f"Cluster {cluster} was killed."
            if command == "kill"
            else f"Cluster {cluster} is up again, and empty."
        )
        return _run(channel, f"{command} {cluster}", done)

    @demo.post("/home")
    def fail_back() -> ResponseReturnValue:
        try:
            ext.client.reset()  # all processes of the shop fail back
        except ClientOfflineException as error:
            flash(f"That did not work, and nothing has changed: {error}")
        else:
            flash(f"The shop is back on {_labels()[0]}.")
        return redirect(url_for("shop.front"), 303)

    @demo.app_context_processor
    def panel() -> dict[str, Any]:
        return {
            "demo_buttons": _buttons(channel),
            "demo_failback": _failback_target(),
            "operators_page": url_for(_PAGE) if _PAGE in current_app.view_functions else None,
        }

    return demo


def _run(channel: Channel, command: str, done: str) -> ResponseReturnValue:
    try:
        send_command(channel, command)
    except ControlError as error:
        done = f"That did not work: {error}"
    flash(done)
    return redirect(url_for("shop.front"), 303)


def _buttons(channel: Channel) -> list[Button]:
    try:
        # The status of the client may still be older.
        running = send_command(channel, "running").split()
    except ControlError:
        return []
    status = ext.client.status()
    return [
        Button(
            "kill" if label in running else "restart",
            label,
            label == _labels()[0],
            label == status.current_cluster,
        )
        for label in _labels()
    ]


def _failback_target() -> str | None:
    """Return the label of the primary cluster if it is a standby."""
    primary = ext.client.status().clusters[0]
    return primary.label if primary.state == "standby" else None


def _labels() -> list[str]:
    return [cluster.label for cluster in ext.client.status().clusters]
