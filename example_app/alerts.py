"""Alerts for the person on call: what has happened to a cluster, and what to do.

The client itself logs every step. These lines need an action; a real shop would send them to a pager.
"""

from __future__ import annotations

from typing import Any

from flask import Flask

from example_app.extensions import ext
from flask_hazelcast_failover import signals
from flask_hazelcast_failover.signals import ClusterRecovered, ClustersExhausted, ClusterSwitched

__all__ = ["subscribe"]


def subscribe(app: Flask) -> None:
    """Log the alerts of this app, and of no other app in the same process."""
    signals.cluster_switched.connect(_switched, sender=app)
    signals.clusters_exhausted.connect(_exhausted, sender=app)
    signals.cluster_recovered.connect(_recovered, sender=app)


def _switched(app: Flask, event: ClusterSwitched, **_: Any) -> None:
    if not event.fleet_first:
        return  # one alert for all processes of the shop is enough
    if event.current == _primary():
        app.logger.warning(
            "ALERT over: the shop is back on its primary cluster %s (%s). Nothing to do.",
            event.current,
            event.reason,
        )
        return
    app.logger.warning(
        "ALERT: the shop moved from %s to %s (%s, pages waited %.0f ms). It goes on selling; carts made on %s are out of"
        " sight. To do: find out what happened to %s; once it is up again, POST %s/reset.",
        event.previous,
        event.current,
        event.reason,
        event.duration * 1000,
        event.previous,
        event.previous,
        _admin_url(app),
    )


def _exhausted(app: Flask, event: ClustersExhausted, **_: Any) -> None:
    app.logger.critical(
        "ALERT: the shop is closed, no cluster can be reached (%s). Every page that needs data answers 503."
        " To do: bring any of them up; the shop opens by itself.",
        "; ".join(f"{label}: {why}" for label, why in event.errors.items()),
    )


def _recovered(app: Flask, event: ClusterRecovered, **_: Any) -> None:
    current = ext.client.status().current_cluster
    if event.cluster == _primary() and current not in (event.cluster, None):
        app.logger.warning(
            "The primary cluster %s is up again after %.1f s, and the shop still is on %s."
            " To do: look whether it has its data; then POST %s/reset.",
            event.cluster,
            event.downtime,
            current,
            _admin_url(app),
        )


def _admin_url(app: Flask) -> str:
    url: str = app.config.get("HAZELCAST_FAILOVER_ADMIN_URL_PREFIX", "/hazelcast")
    return url


def _primary() -> str:
    return ext.client.status().clusters[0].label
