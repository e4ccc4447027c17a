"""By what members know a client, so that a client that is opened again can take its place.

A request for a lock carries a number: a member takes one with the number of the last for one that was sent again. So
a request that was lost may be sent again under its number by a client that the members know by the same id, and is
carried out once.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

__all__ = ["ClientIdentity", "LockRequest", "LockRequests"]


@dataclass(frozen=True)
class ClientIdentity:
    """By what members know a client: its id, and where it counts its requests for locks.

    A member takes a request with the number of the last one for one that was sent again.
    """

    uuid: UUID
    lock_requests: LockRequests


class LockRequest:
    """One request, which keeps its number among those of one client id."""

    __slots__ = ("number", "of")

    def __init__(self) -> None:
        self.of: LockRequests | None = None  # set by the thread that sends it, like the number
        self.number = 0


class LockRequests:
    """Numbers the requests of one client id; stands in for the official counter."""

    def __init__(self) -> None:
        self._count = itertools.count(1)
        self._again = threading.local()  # `number`: of the request that the calling thread sends

    def get_and_increment(self) -> int:
        """The number for the request that the calling thread makes."""
        number: int | None = getattr(self._again, "number", None)
        return next(self._count) if number is None else number

    @contextmanager
    def sending(self, request: LockRequest) -> Iterator[None]:
        """A block in which the calling thread makes a request, the same one again if it has a number here."""
        if request.of is not self:
            request.of, request.number = self, next(self._count)
        self._again.number = request.number
        try:
            yield
        finally:
            self._again.number = None
