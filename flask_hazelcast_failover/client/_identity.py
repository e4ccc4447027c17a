"""The identity by which members know a client, which a client that replaces it can take over.

A request for a lock carries a number, and a member treats one with the number of the last request as its repeat. So a
client with the same id can repeat a request that was lost, and it is carried out once.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

Result = TypeVar("Result")


@dataclass(frozen=True)
class ClientIdentity:
    """A client's id, and the counter of its requests for locks."""

    uuid: UUID
    lock_requests: LockRequests


class LockRequest:
    """A request for a lock, which keeps its number when it is repeated under the same client id."""

    __slots__ = ("counter", "number")

    def __init__(self) -> None:
        self.counter: LockRequests | None = None  # set by the thread that sends it, like the number
        self.number = 0


class LockRequests:
    """Numbers the requests of one client id; replaces the official ``AtomicInteger``."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._current = threading.local()  # `number`: of the request that the calling thread sends

    def get_and_increment(self) -> int:
        """The number of the request that the calling thread sends."""
        number: int | None = getattr(self._current, "number", None)
        return next(self._count) if number is None else number

    def send(self, request: LockRequest, send: Callable[[], Result]) -> Result:
        """Have the calling thread send a request, or repeat it under its number."""
        if request.counter is not self:
            request.counter, request.number = self, next(self._count)
        try:  # no context manager: an exception that arrives while it is entered would leave the number behind
            self._current.number = request.number
            return send()
        finally:
            self._current.number = None
