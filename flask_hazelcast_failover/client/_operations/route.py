"""Where operations go now: published by the controller, read by every operation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ...errors import ClientOfflineException, ClientShutDown
from .._connect.link import CallInFlight, Link
from ..status import State


class Route:
    """The active link, or why there is none.

    :param connect: called without a lock when an operation finds the client idle
    :param describe: describes each cluster, for the error of an operation that has waited in vain
    """

    def __init__(self, connect: Callable[[], None], describe: Callable[[], str]) -> None:
        self._connect = connect
        self._describe = describe
        self._init_state(State.IDLE)

    def publish(self, link: Link, show: Callable[[], None] = lambda: None) -> None:
        """Send new operations to ``link`` and wake those that wait.

        :param show: makes the new status visible, at the same moment as the link
        """
        with self._changed:
            show()
            self._set(State.CONNECTED, link)

    def suspend(self) -> None:
        """Let new operations wait for the end of a switch."""
        self._set(State.SWITCHING, None)

    def offline(self, why: str) -> None:
        """Let operations fail at once, with the message ``why``."""
        self._set(State.OFFLINE, None, why)

    def idle(self, why: str) -> None:
        """After a failed start: let waiting operations fail with ``why``, and the next one start again."""
        with self._changed:
            self._failed_starts += 1
            self._set(State.IDLE, None, why)

    def close(self) -> None:
        """Let operations fail for good."""
        self._set(State.CLOSED, None)

    def reset_after_fork(self) -> None:
        """Start without a link in a forked child. A closed route stays closed."""
        self._init_state(State.CLOSED if self.state is State.CLOSED else State.IDLE)

    def begin_call(self, link: Link) -> CallInFlight | None:
        """Count an operation in on ``link``; ``None`` if that is not the active link any more.

        The order matters. A switch publishes the next link first and looks at the calls counted in on the former one
        afterwards: an operation that counts itself in first and checks afterwards is either seen there or sees the
        switch.
        """
        call = CallInFlight(link)
        if self.link is link:
            return call
        call.end()
        return None

    def active(self, deadline: float, other_than: Link | None = None) -> Link:
        """The link for the next operation, waited for while a switch is under way.

        :param deadline: when to stop waiting, monotonic seconds
        :param other_than: a link that is known to be gone, published or not
        :raises ClientOfflineException: no cluster can be reached, or the wait is over
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        failed_starts = self._failed_starts
        if self.state is State.IDLE:
            self._connect()
        with self._changed:
            while True:
                if self.link is not None and self.link is not other_than:
                    return self.link
                if self.state is State.CLOSED:
                    raise ClientShutDown
                if self.state is State.OFFLINE or self._failed_starts != failed_starts:
                    raise ClientOfflineException(self._why)
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
        raise ClientOfflineException(
            f"no cluster within wait_timeout, the client still is {self.state}: {self._describe()}"
        )

    def _init_state(self, state: State) -> None:
        self._changed = threading.Condition()
        # Written under _changed, by the controller and by closing. Read without it: begin_call() notices a stale value.
        self.link: Link | None = None
        self.state = state
        self.last_index = 0  # of the last active cluster
        self._why = ""
        self._failed_starts = 0

    def _set(self, state: State, link: Link | None, why: str = "") -> None:
        with self._changed:
            if self.state is State.CLOSED:
                return
            self.link = link
            self.state = state
            self._why = why
            if link is not None:
                self.last_index = link.index
            self._changed.notify_all()
