"""A failover told in the log: one line for each thing that happened, with the figures it was decided on."""

from __future__ import annotations

import logging

from flask_hazelcast_failover.client.events import (
    AddressesChanged,
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Event,
)

__all__ = ["log"]

_logger = logging.getLogger("flask_hazelcast_failover")


def log(event: Event, why: str) -> None:
    """Write the line for an event; ``why`` has the figures, if there are any."""
    match event:
        case ClusterConnected(cluster, active):
            _logger.info("connected to %s (%s)", cluster, "active" if active else "standby")
        case ClusterLost(cluster, active, reason):
            _logger.warning("lost %s (%s): %s", cluster, "active" if active else "standby", why or reason)
        case ClusterSwitched():
            _logger.warning(
                "switched from %s to %s after %.0f ms: %s%s (epoch %d)",
                event.previous,
                event.current,
                event.duration * 1000,
                event.reason,
                f", {why}" if why else "",
                event.epoch,
            )
        case ClustersExhausted(errors):
            reasons = "; ".join(f"{label}: {why}" for label, why in errors.items())
            _logger.error("no cluster can be reached, trying on: %s", reasons)
        case ClusterRecovered(cluster, downtime):
            _logger.warning("%s is back after %.1f s", cluster, downtime)
        case AddressesChanged(cluster, before, after):
            _logger.info("%s moved from %s to %s", cluster, ", ".join(before), ", ".join(after))
