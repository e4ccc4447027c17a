"""Events: a line in the log for each, and a call of everyone who has subscribed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from ..._foreign_text import listed
from ..._threads import in_foreign_code
from .._process.serial_executor import SerialExecutor
from ..events import (
    AddressesChanged,
    ClusterConnected,
    ClusterLost,
    ClusterRecovered,
    ClustersExhausted,
    ClusterSwitched,
    Event,
)

_logger = logging.getLogger("flask_hazelcast_failover")

Receiver = Callable[[Event], object]


class EventLog:
    """Announces events in order.

    :param executor: the thread that receivers are called on
    """

    def __init__(self, executor: SerialExecutor) -> None:
        self._executor = executor
        self._receivers: list[Receiver] = []  # only ever grows

    def subscribe(self, receiver: Receiver) -> None:
        """Have ``receiver`` called with each event from now on.

        :raises TypeError: ``receiver`` cannot be called
        """
        if not callable(receiver):
            raise TypeError(f"receiver must be callable with an event, not a {type(receiver).__name__}")
        self._receivers.append(receiver)

    def announce(self, event: Event, why: str = "") -> None:
        """Log an event, with ``why`` if that says more, and call the receivers, in order."""
        log(event, why)
        for receiver in tuple(self._receivers):
            self._executor.submit(partial(_call, receiver, event))


def _call(receiver: Receiver, event: Event) -> None:
    with in_foreign_code():
        receiver(event)


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
            reasons = listed([f"{label}: {why}" for label, why in errors.items()], "; ")
            _logger.error("no cluster can be reached, trying on: %s", reasons)
        case ClusterRecovered(cluster, downtime):
            _logger.warning("%s is back after %.1f s", cluster, downtime)
        case AddressesChanged(cluster, before, after):
            _logger.info("%s moved from %s to %s", cluster, listed(before), listed(after))
