"""The state of one health check of one member: answered, open, or failed.

A busy connection is not a dead one. A check fails

- when its last byte is not acknowledged, and for the time-out no byte was acknowledged and none came: the peer is
  frozen and its buffer full;
- when the peer has all of it, and nothing came for the time-out: less than 4 KiB is nothing;
- when the ping that was sent behind it was answered and the check is not within the time-out after that.

Time is counted by the clock of the reactor that reads the answer, so that a process which was stopped, or was busy
with one large message, does not take members for failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from .._official import CheckRequest, machine_error

# Fewer bytes within the time-out are silence.
_LEAST_PROGRESS = 4096


class CheckState(Enum):
    """What is known of a check."""

    OPEN = "may still be answered"
    ANSWERED = "was answered"
    SILENT = "failed: nothing came"
    PINGS_ONLY = "failed: the member answers pings, and no checks"


class MemberCheck:
    """One check. Of the health monitor's thread, or of whoever sent it.

    :param request: what was sent
    :param timeout: seconds without progress after which it fails, and for the answer once the connection is not busy
    """

    def __init__(self, request: CheckRequest, timeout: float) -> None:
        self.sent_at = time.monotonic()
        self.answered_at: float | None = (
            None  # monotonic seconds; written by the thread that reads the answer
        )
        self.state = CheckState.OPEN
        self._request = request
        self._timeout = timeout
        now = request.clock.now()
        # All in the reactor's time:
        self._began = now
        self._progress_at = now  # when bytes last came, or were acknowledged
        self._ping_at: float | None = None  # when the ping was found to be answered
        # How many bytes had come by then:
        self._progress_bytes = self._ping_bytes = request.connection.received
        self._acknowledged = 0
        self._is_acknowledged = False
        self._has_pinged_again = False
        self.call_when_answered(self._note_answer)

    @property
    def machine_error(self) -> str | None:
        """The Java error that the member met, if it met one."""
        return machine_error(self._request.answer)

    def call_when_answered(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once an answer, or the end of the connection, is here. It must not wait."""
        self._request.answer.add_done_callback(lambda _: callback())

    def is_overdue(self) -> bool:
        """Whether the check is excused by a busy connection: it is open, and its time-out has passed."""
        return self.state is CheckState.OPEN and self._request.clock.now() - self._began > self._timeout

    def update(self) -> CheckState:
        """Judge the check by what is known now. A failed one that is answered after all becomes ``ANSWERED``."""
        if self._request.is_answered():
            self.state = CheckState.ANSWERED
        elif self.state is CheckState.OPEN:
            self.state = self._judge(self._request.clock.now())
        return self.state

    def _judge(self, now: float) -> CheckState:
        self._note_progress(now)
        if self._is_acknowledged and self._request.is_ping_answered():
            return self._judge_after_ping(now)
        has_ended = self._request.has_failed() and self._request.ping.done()
        return CheckState.SILENT if has_ended or now - self._progress_at >= self._timeout else CheckState.OPEN

    def _note_progress(self, now: float) -> None:
        connection = self._request.connection
        received = connection.received
        if received - self._progress_bytes >= _LEAST_PROGRESS:
            self._progress_at, self._progress_bytes = now, received
        if self._is_acknowledged:
            return
        acknowledged = connection.acknowledged()
        if acknowledged > self._acknowledged:
            self._progress_at, self._acknowledged = now, acknowledged
        # What is sent after the check excuses nothing: from here on only what comes counts.
        self._is_acknowledged = self._request.is_acknowledged(acknowledged)

    def _judge_after_ping(self, now: float) -> CheckState:
        request, received = self._request, self._request.connection.received
        if self._ping_at is None:
            self._ping_at, self._ping_bytes = now, received
        is_late = now - self._ping_at >= self._timeout
        is_busy = received - self._ping_bytes >= _LEAST_PROGRESS
        if is_late and is_busy and not self._has_pinged_again:
            # The answer may wait behind what came since: another ping tells when all of that is here.
            self._has_pinged_again = True
            self._progress_at, self._progress_bytes, self._ping_at = now, received, None
            request.ping_again()
            return CheckState.OPEN
        if not (is_late or self._has_pinged_again or request.has_failed()):
            return CheckState.OPEN
        return CheckState.PINGS_ONLY if request.is_direct else CheckState.SILENT

    def _note_answer(self) -> None:
        self.answered_at = time.monotonic()
