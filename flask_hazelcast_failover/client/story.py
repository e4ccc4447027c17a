"""A failover told in the log: one line for each thing that happened."""

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


def log(event: Event) -> None:
    """Write the line for an event."""
    match event:
        case ClusterConnected(cluster, active):
            _logger.info("connected to %s (%s)", cluster, "active" if active else "standby")
        case ClusterLost(cluster, active, reason):
            _logger.warning("lost %s (%s): %s", cluster, "active" if active else "standby", reason)
        case ClusterSwitched():
            _logger.warning(
                "switched from %s to %s after %.0f ms: %s (epoch %d)",
                event.previous,
                event.current,
                event.duration * 1000,
                event.reason,
                event.epoch,
            )
        case ClustersExhausted(errors):
            reasons = "; ".join(f"{label}: {why}" for label, why in errors.items())
            _logger.error("no cluster can be reached, trying on: %s", reasons)
        case ClusterRecovered(cluster, downtime):
            _logger.warning("%s is back after %.1f s", cluster, downtime)
        case AddressesChanged(cluster, before, after):
            _logger.info("%s moved from %s to %s", cluster, ", ".join(before), ", ".join(after))
