"""Requests to switch: the order in which they are carried out, and how each ends."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ..._foreign_text import printable
from ...errors import ClientOfflineException
from .cluster import ClusterRecord
from .messages import SwitchRequest


class RequestQueue:
    """The requests that somebody waits for, first come, first served. Each ends once. Of the controller's thread."""

    def __init__(self) -> None:
        self.holds = False  # the last switch on purpose forbids failback
        self.connecting: SwitchRequest | None = None  # the one whose cluster is being connected to
        self._queue: deque[SwitchRequest] = deque()
        self._ended: list[tuple[SwitchRequest, Exception | None]] = []

    def add(self, request: SwitchRequest) -> None:
        """Take a request in, after those before."""
        self._queue.append(request)

    def take(self) -> SwitchRequest | None:
        """The next request to carry out, if there is one."""
        return self._queue.popleft() if self._queue else None

    def is_connecting(self, record: ClusterRecord) -> bool:
        """Whether a cluster is being connected to because of a request."""
        return self.connecting is not None and self.connecting.index == record.index

    def requeue(self) -> None:
        """Let a search go first: it decides which clusters to connect to."""
        if self.connecting is not None:
            self._queue.appendleft(self.connecting)
            self.connecting = None

    def complete(self, request: SwitchRequest) -> None:
        """Operations go to the cluster that was asked for."""
        self.holds = request.holds
        self._ended.append((request, None))

    def fail(self, request: SwitchRequest, label: str, why: str) -> None:
        """The cluster cannot be reached, and nothing has changed."""
        self._ended.append((request, ClientOfflineException(printable(f"{label} cannot be reached: {why}"))))

    def fail_connecting(self, label: str, why: str) -> None:
        """Fail the request whose cluster was being connected to, and those that wait for the same cluster."""
        failed, self.connecting = self.connecting, None
        if failed is None:
            return
        self.fail(failed, label, why)
        for request in [other for other in self._queue if other.index == failed.index]:
            self._queue.remove(request)
            self.fail(request, label, why)

    def notify(self) -> None:
        """End the futures of those who wait. To be called last of all, since they then look at the status."""
        ended, self._ended = self._ended, []
        for request, error in ended:
            if error is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(error)

    def close(self, under_way: Iterable[SwitchRequest | None], make_error: Callable[[], Exception]) -> None:
        """Fail whatever is not done: nothing more will happen.

        :param under_way: the requests that are being carried out
        :param make_error: makes the error for each
        """
        self.notify()
        for request in (*under_way, self.connecting, *self._queue):
            if request is not None:
                request.done.set_exception(make_error())
