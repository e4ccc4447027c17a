"""Buttons that kill and restart clusters. They exist only where the app was told of a control channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Flask, abort, current_app, flash, redirect, url_for
from flask.typing import ResponseReturnValue

from example_app import visitors
from example_app.control import Channel, ControlError, give
from example_app.extensions import ext
from flask_hazelcast_failover import ClientOfflineException

__all__ = ["init_app"]


_PAGE = "hazelcast_failover.page"  # only there for apps that have an admin token


@dataclass(frozen=True)
class Button:
    """What may be done to a cluster now: ``order`` is ``"kill"`` or ``"restart"``."""

    order: str
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

    @demo.post("/<any(kill, restart):order>/<cluster>")
    def harm_or_heal(order: str, cluster: str) -> ResponseReturnValue:
        if cluster not in _labels():
            abort(404)
        done = (
            f"Cluster {cluster} was killed."
            if order == "kill"
            else f"Cluster {cluster} is up again, and empty."
        )
        return _carry_out(channel, f"{order} {cluster}", done)

    @demo.post("/home")
    def home() -> ResponseReturnValue:
        try:
            ext.client.reset()  # every process of the shop goes back, not only this one
        except ClientOfflineException as error:
            flash(f"That did not work, and nothing has changed: {error}")
        else:
            flash(f"The shop is back on {_labels()[0]}.")
        return redirect(url_for("shop.front"), 303)

    @demo.app_context_processor
    def panel() -> dict[str, Any]:
        return {
            "demo_buttons": _buttons(channel),
            "demo_home": _way_home(),
            "operators_page": url_for(_PAGE) if _PAGE in current_app.view_functions else None,
        }

    return demo


def _carry_out(channel: Channel, order: str, done: str) -> ResponseReturnValue:
    try:
        give(channel, order)
    except ControlError as error:
        done = f"That did not work: {error}"
    flash(done)
    return redirect(url_for("shop.front"), 303)


def _buttons(channel: Channel) -> list[Button]:
    try:
        # Asked there, since a client may still be trying to reach what is gone.
        running = give(channel, "running").split()
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


def _way_home() -> str | None:
    """Return the label of the primary cluster if it stands by, ready to be gone back to."""
    primary = ext.client.status().clusters[0]
    return primary.label if primary.state == "standby" else None


def _labels() -> list[str]:
    return [cluster.label for cluster in ext.client.status().clusters]
