"""Attempts: each gets a number, and the time at which it begins."""

from __future__ import annotations

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client.options import Options

__all__ = ["ConnectScheduler"]

# Between two attempts of a search, at most, seconds.
_LONGEST_DELAY = 1.0
# Whatever the first delay, so many doublings are past the longest.
_DOUBLINGS = 64


class ConnectScheduler:
    """Begins attempts, now or by and by. Of the controller's thread.

    :param options: the client's options
    :param world: carries attempts out
    """

    def __init__(self, options: Options, world: Effects) -> None:
        self._options = options
        self._world = world
        self._attempts = 0

    def dial(self, record: ClusterRecord) -> None:
        """Begin an attempt now."""
        self._attempts += 1
        record.attempt = self._attempts
        record.dial_at = None
        if record.began is None:
            record.began = self._world.now()
        self._world.dial(record.index, self._attempts, record.to_be_found())

    def dial_again(self, record: ClusterRecord) -> None:
        """Begin the next attempt soon: somebody waits for it."""
        longest = min(_LONGEST_DELAY, self._options.retry_delay * 2 ** min(record.tries - 1, _DOUBLINGS))
        record.dial_at = self._world.now() + longest * self._world.chance()

    def dial_later(self, record: ClusterRecord) -> None:
        """Begin the next attempt by and by, the first one ever at once."""
        never = record.began is None and record.last_error is None
        pause = 0.0 if never else record.background_pause(self._world.chance())
        record.dial_at = self._world.now() + pause
