"""Signals that an app can subscribe to.

The sender is the Flask app, ``event`` a frozen value that describes what happened::

    @signals.cluster_switched.connect_via(app)
    def alert(app, event, **extra):
        app.logger.warning("from %s to %s: %s", event.previous, event.current, event.reason)

Receivers are called in order, inside an app context, by a background thread and never by a request. An
exception in one is logged and does not affect the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from blinker import ANY, NamedSignal
from flask import Flask

from ._flask_app import unproxied
from .client.events import (
    AddressesChanged,
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Event,
    FleetSplit,
    Reason,
)

__all__ = [
    "AddressesChanged",
    "ClusterConnected",
    "ClusterLost",
    "ClusterRecovered",
    "ClusterSwitched",
    "ClustersExhausted",
    "FleetSplit",
    "Reason",
    "addresses_changed",
    "cluster_connected",
    "cluster_lost",
    "cluster_recovered",
    "cluster_switched",
    "clusters_exhausted",
    "fleet_split",
]

_logger = logging.getLogger(__name__)

_Receiver = TypeVar("_Receiver", bound=Callable[..., Any])


class _AppSignal(NamedSignal):
    """A signal whose sender is an app, which may be given as ``current_app``.

    Blinker compares senders by identity: a receiver connected to the proxy would never be called.
    """

    def connect(self, receiver: _Receiver, sender: Any = ANY, weak: bool = True) -> _Receiver:
        """Call a receiver at each event of one app, or of all."""
        return super().connect(receiver, unproxied("sender", sender), weak)

    def disconnect(self, receiver: Callable[..., Any], sender: Any = ANY) -> None:
        """Call it no more."""
        super().disconnect(receiver, unproxied("sender", sender))

    def has_receivers_for(self, sender: Any) -> bool:
        """Whether a receiver may be connected to an app."""
        return super().has_receivers_for(unproxied("sender", sender))

    def receivers_for(self, sender: Any) -> Generator[Callable[..., Any], None, None]:
        """The receivers of an app's events."""
        return super().receivers_for(unproxied("sender", sender))


cluster_connected = _AppSignal(
    "cluster-connected",
    "A cluster can be used. ``event``: ``cluster``, ``active`` (false: standby).",
)
cluster_lost = _AppSignal(
    "cluster-lost",
    "A cluster can no longer be used. ``event``: ``cluster``, ``active``, ``reason``.",
)
cluster_switched = _AppSignal(
    "cluster-switched",
    "Operations go to another cluster. ``event``: ``previous``, ``current``, ``reason``, ``duration`` "
    "(seconds), ``epoch``, ``fleet_first`` (true in one process of a fleet, so that one alert goes out).",
)
clusters_exhausted = _AppSignal(
    "clusters-exhausted",
    "No cluster can be reached. ``event``: ``errors`` (label: why).",
)
cluster_recovered = _AppSignal(
    "cluster-recovered",
    "A lost cluster can be used again. ``event``: ``cluster``, ``downtime`` (seconds).",
)
addresses_changed = _AppSignal(
    "addresses-changed",
    "The name of a CNAME cluster resolves to other addresses. ``event``: ``cluster``, ``before``, ``after``.",
)
fleet_split = _AppSignal(
    "fleet-split",
    "The processes of a fleet are on several clusters. ``event``: ``fleet``, ``workers`` (label: how many).",
)

_SIGNAL_OF: dict[type[Event], NamedSignal] = {
    ClusterConnected: cluster_connected,
    ClusterLost: cluster_lost,
    ClusterSwitched: cluster_switched,
    ClustersExhausted: clusters_exhausted,
    ClusterRecovered: cluster_recovered,
    AddressesChanged: addresses_changed,
    FleetSplit: fleet_split,
}


def announce(app: Flask, event: Event) -> None:
    """Send the signal of an event. Exceptions of receivers are logged."""
    signal = _SIGNAL_OF[type(event)]
    if signal.is_muted:
        return
    # Not signal.send(), which stops at the first receiver that raises.
    for receiver in signal.receivers_for(app):
        _call(receiver, app, event, signal.name)


def _call(receiver: Callable[..., Any], app: Flask, event: Event, name: str) -> None:
    try:
        # A context for each, so that they share neither flask.g nor a database session.
        with app.app_context():
            app.ensure_sync(receiver)(app, event=event)
    except (Exception, SystemExit):
        _logger.exception("A receiver of %s failed: %r", name, receiver)
