"""The scheduler of attempts: begins them, now or later."""

from __future__ import annotations

from ..._backoff import backoff
from ..options import Options
from .cluster import ClusterRecord
from .effects import Effects

# Between two attempts of a search, seconds at most.
_LONGEST_DELAY = 1.0


class ConnectScheduler:
    """Begins attempts, and numbers them. Of the controller's thread."""

    def __init__(self, options: Options, effects: Effects) -> None:
        self._retry_delay = options.retry_delay
        self._effects = effects
        self._numbers = 0

    def start(self, record: ClusterRecord) -> None:
        """Begin an attempt now."""
        attempts = record.attempts
        self._numbers += 1
        attempts.number, attempts.due_at = self._numbers, None
        if attempts.began is None:
            attempts.began = self._effects.now()
        self._effects.start_attempt(record.index, self._numbers, record.connection.known_for_attempt())

    def retry_soon(self, record: ClusterRecord) -> None:
        """Begin the next attempt after ``retry_delay``, doubled and jittered: operations wait for it."""
        longest = backoff(self._retry_delay, record.attempts.failed, _LONGEST_DELAY)
        record.attempts.due_at = self._effects.now() + longest * self._effects.random()

    def retry_later(self, record: ClusterRecord) -> None:
        """Begin the next attempt after a pause, jittered; the first one ever at once."""
        is_first = record.attempts.began is None and record.last_error is None
        pause = 0.0 if is_first else record.attempts.next_pause() * (0.5 + self._effects.random() / 2)
        record.attempts.due_at = self._effects.now() + pause
