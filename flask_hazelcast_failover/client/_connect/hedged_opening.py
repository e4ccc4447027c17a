"""From members to an open client: opens one on the first member, and on the next as well if that takes long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hazelcast.config import Config

from .._identity import ClientIdentity
from .._official import OfficialClient, Opening
from .connect_slots import ConnectSlot, connect_slots
from .probe import Probe, ProbeResult, Verdict

# After how long the next member is tried as well, seconds at most.
_HEDGE_DELAY = 0.5

BuildConfig = Callable[[Sequence[str]], Config]
"""Returns a new configuration for these addresses."""


@dataclass
class Member:
    """A member that has accepted a probe, whose connection stays open, and the opening of a client on it."""

    probe: Probe
    connection: socket.socket
    opening: Opening | None = None
    failure: ProbeResult | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a client can be opened on it."""
        return self.opening is None and self.failure is None

    @property
    def is_opening(self) -> bool:
        """Whether a client is being opened on it."""
        return self.opening is not None and self.failure is None


class HedgedOpening:
    """The openings of one attempt, in whose thread all methods are called.

    :param build_config: for the official clients
    :param config: the attempt's configuration
    :param deadline: when the attempt ends, monotonic seconds
    :param former: the identity to take over, if there is one
    :param post: called on other threads with an opening that has ended; pass it to ``on_opened``
    :param wake: called on other threads when ``start_next`` has to be called
    :param max_message_size: of the official clients, bytes
    """

    def __init__(
        self,
        build_config: BuildConfig,
        config: Config,
        deadline: float,
        former: ClientIdentity | None,
        post: Callable[[Opening], None],
        wake: Callable[[], None],
        max_message_size: int,
    ) -> None:
        self._build_config = build_config
        self._deadline = deadline
        self._former = former
        self._post = post
        self._wake = wake
        self._max_message_size = max_message_size
        # Where the host's name matters, a client is opened at that, else at the IP address that was probed.
        self._needs_name = bool(config.token_provider or (config.ssl_enabled and config.ssl_check_hostname))
        self.members: list[Member] = []
        self._slot: ConnectSlot | None = None  # from the first member on
        self._last_start = 0.0  # monotonic seconds

    @property
    def has_usable_member(self) -> bool:
        """Whether a client may still be opened on one of the members."""
        return any(member.failure is None for member in self.members)

    def start_next(self) -> None:
        """Open a client on the next member, if there is one and it is time."""
        waiting = [member for member in self.members if member.is_waiting]
        is_opening = any(member.is_opening for member in self.members)
        now = time.monotonic()
        if not waiting or (is_opening and now < self._last_start + self._delay(len(waiting))):
            return
        if self._slot is None:
            self._slot = connect_slots.request(self._wake)
        if not self._slot.is_ready:
            return
        member, self._last_start = waiting[0], now
        probe = member.probe
        config = self._build_config([probe.address if self._needs_name else f"{probe.ip}:{probe.port}"])
        # Only one client at a time may use the former identity.
        member.opening = Opening(
            config, None if is_opening else self._former, self._max_message_size, on_done=self._post
        )

    def seconds_to_next(self) -> float:
        """Seconds until ``start_next`` has to be called, unless something is posted or ``wake`` is called before."""
        waiting = sum(member.is_waiting for member in self.members)
        if not waiting or self._slot is None or not self._slot.is_ready:
            return float("inf")
        return max(0.001, self._last_start + self._delay(waiting) - time.monotonic())

    def on_opened(self, opening: Opening) -> OfficialClient | None:
        """The client of an opening that has ended, if it is open."""
        member = next(member for member in self.members if member.opening is opening)
        if opening.error is not None:
            verdict = Verdict.REFUSING if opening.is_unsupported else Verdict.ABSENT
            member.failure = ProbeResult(verdict, opening.error)
        elif member.probe.expected_cluster not in (None, opening.client.cluster_id):
            member.failure = ProbeResult(Verdict.REFUSING, "joined another cluster meanwhile")
        else:
            return opening.client
        return None

    def cancel(self, winner: OfficialClient | None) -> list[threading.Thread]:
        """Free the slot, and close all clients but ``winner``; returns the threads that do so."""
        if self._slot is not None:
            self._slot.release()
        openings = [member.opening for member in self.members if member.opening is not None]
        return [opening.cancel() for opening in openings if opening.client is not winner]

    def _delay(self, waiting: int) -> float:
        return min(_HEDGE_DELAY, (self._deadline - self._last_start) / (waiting + 1))
