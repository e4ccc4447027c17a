"""Where operations go now: published by the controller, read by every operation."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..._threads import Notifier
from ...errors import ClientOfflineException, ClientShutDown
from .._connect.link import CallInFlight, Link
from ..status import State

# How often an operation that waits asks an idle client again to connect, seconds: whoever asked first may have been
# interrupted.
_CONNECT_INTERVAL = 1.0


class Route:
    """The active link, or why there is none. It needs no lock, so that publishing never waits for an operation.

    :param connect: called when an operation finds the client idle
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
        if self.link is None:
            self._set(State.SWITCHING, None)  # who sees the new status is not told that nothing is reachable
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
        self._why = why  # first, since a new number says that it counts
        self._failed_starts += 1  # by one thread at a time: only the one that began a start ends it
        self._set(State.IDLE, None, why)

    def close(self) -> None:
        """Let operations fail for good."""
        self._is_closed = True
        self._set(State.CLOSED, None)

    def reset_after_fork(self) -> None:
        """Start without a link in a forked child. A closed route stays closed."""
        self._init_state(State.CLOSED if self.state is State.CLOSED else State.IDLE)

    def begin(self, call: CallInFlight) -> bool:
        """Count an operation in on its link; ``False`` if that is not the active link any more.

        The caller has to end the call, whatever this returns or raises.

        The order matters. A switch publishes the next link first and looks at the calls counted in on the former one
        afterwards: an operation that counts itself in first and checks afterwards is either seen there or sees the
        switch.
        """
        call.begin()
        return self.link is call.link

    def active(self, deadline: float, other_than: Link | None = None) -> Link:
        """The link for the next operation, waited for while a switch is under way.

        :param deadline: when to stop waiting, monotonic seconds
        :param other_than: a link that is known to be gone, published or not
        :raises ClientOfflineException: no cluster can be reached, or the wait is over
        :raises HazelcastClientNotActiveError: the client was shut down
        """
        failed_starts = self._failed_starts

        def is_decided() -> bool:
            has_failed = self.state in (State.CLOSED, State.OFFLINE) or self._failed_starts != failed_starts
            return has_failed or self._link_other_than(other_than) is not None

        while True:
            if self.state is State.IDLE and self._failed_starts == failed_starts:
                self._connect()
            left = deadline - time.monotonic()
            self._changes.wait_for(is_decided, min(left, _CONNECT_INTERVAL))
            if (link := self._link_other_than(other_than)) is not None:
                return link
            if self.state is State.CLOSED:
                raise ClientShutDown
            if self.state is State.OFFLINE or self._failed_starts != failed_starts:
                raise ClientOfflineException(self._why)
            if left <= 0:
                raise ClientOfflineException(
                    f"no cluster within wait_timeout, the client still is {self.state}: {self._describe()}"
                )

    def _link_other_than(self, gone: Link | None) -> Link | None:
        link = self.link
        return None if link is gone else link

    def _init_state(self, state: State) -> None:
        self._changes = Notifier()
        # Written by the controller, and by closing: each value is replaced as a whole. begin() notices a stale one.
        self.link: Link | None = None
        self.state = state
        self.last_index = 0  # of the last active cluster
        self._is_closed = state is State.CLOSED  # never reset, and checked after each change
        self._why = ""
        self._failed_starts = 0

    def _set(self, state: State, link: Link | None, why: str = "") -> None:
        self._why = why  # before the state, which says that it counts
        if link is not None:
            self.last_index = link.index
        self.link = link
        self.state = state
        if self._is_closed:
            self.link, self.state = None, State.CLOSED
        self._changes.notify()
