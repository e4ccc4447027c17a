"""Wishes: who wants to be on which cluster, in what order, and how each wish ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from flask_hazelcast_failover.client._controller.cluster import ClusterRecord
from flask_hazelcast_failover.client._controller.effects import Effects
from flask_hazelcast_failover.client._controller.messages import SwitchRequest
from flask_hazelcast_failover.errors import ClientOfflineException

__all__ = ["Answer", "RequestQueue"]


class RequestQueue:
    """The wishes that somebody waits for, in order. Each is answered once. Of the controller's thread.

    :param world: tells whoever waits
    """

    def __init__(self, world: Effects) -> None:
        self.held = False  # moved on purpose: no failback until reset
        self.dialled: SwitchRequest | None = None  # the one whose cluster is being dialled
        self._world = world
        self._queue: deque[SwitchRequest] = deque()
        self._answers: list[tuple[SwitchRequest, Exception | None]] = []

    def add(self, wish: SwitchRequest) -> None:
        """Take a wish in, after those before."""
        self._queue.append(wish)

    def take(self) -> SwitchRequest | None:
        """The next wish to carry out, if there is one."""
        return self._queue.popleft() if self._queue else None

    def wants(self, record: ClusterRecord) -> bool:
        """Whether a cluster is being dialled because of a wish."""
        return self.dialled is not None and self.dialled.index == record.index

    def put_off(self) -> None:
        """Let a search go first: it decides whom to dial."""
        if self.dialled is not None:
            self._queue.appendleft(self.dialled)
            self.dialled = None

    def grant(self, wish: SwitchRequest) -> None:
        """Operations go where somebody wanted to be."""
        self.held = wish.holds
        self._answers.append((wish, None))

    def refuse(self, wish: SwitchRequest, label: str, why: str) -> None:
        """The cluster cannot be reached, and nothing has changed."""
        self._answers.append((wish, ClientOfflineException(f"{label} cannot be reached: {why}")))

    def unreachable(self, label: str, why: str) -> None:
        """Refuse the wish whose cluster was dialled, and those that wait for the same."""
        dialled, self.dialled = self.dialled, None
        if dialled is None:
            return
        for wish in (dialled, *(other for other in self._queue if other.index == dialled.index)):
            self.refuse(wish, label, why)
        self._queue = deque(other for other in self._queue if other.index != dialled.index)

    def tell(self) -> None:
        """Answer those whose wishes have ended. Last of all, since they look at how things stand."""
        answers, self._answers = self._answers, []
        for wish, error in answers:
            self._world.answer(wish, error)

    def close(self, under_way: Iterable[SwitchRequest | None], farewell: Callable[[], Exception]) -> None:
        """Answer everybody who still waits: nothing more will happen.

        :param under_way: the wishes that are being carried out
        :param farewell: makes the error for each
        """
        self.tell()
        for wish in (*under_way, self.dialled, *self._queue):
            if wish is not None:
                self._world.answer(wish, farewell())


class Answer:
    """How one wish ended, for the thread that waits for it.

    Not an official future: those refuse to be waited for in a callback.
    """

    def __init__(self) -> None:
        self._given = threading.Event()
        self._error: Exception | None = None  # written once, before _given is set

    def give(self, error: Exception | None) -> None:
        """End the wish: with an error, or as it was wished."""
        self._error = error
        self._given.set()

    def wait(self) -> None:
        """Wait until the controller has answered, and raise the error if there was one."""
        self._given.wait()
        if self._error is not None:
            raise self._error
