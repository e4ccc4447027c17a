"""Opens one official client on a thread; can be cancelled at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hazelcast.config import Config

from ..._threads import helper_thread, resting
from .._identity import ClientIdentity
from .official_client import OfficialClient
from .versions import UnsupportedVersion


class Opening:
    """The opening of one official client.

    :param config: for the client
    :param former: the identity that the client takes over, if there is one
    :param max_message_size: of the client, bytes
    :param on_done: called with this opening, on its thread, once the client is open or ``error`` is set
    """

    def __init__(
        self,
        config: Config,
        former: ClientIdentity | None,
        max_message_size: int,
        on_done: Callable[[Opening], None],
    ) -> None:
        # Created before its constructor runs, which blocks, so that it can be abandoned meanwhile.
        self.client: OfficialClient = OfficialClient.__new__(OfficialClient)
        self.client.former = former
        self.client.max_message_size = max_message_size
        self.error: str | None = None
        self.is_unsupported = False
        self._config = config
        self._on_done = on_done
        self._thread = helper_thread(self._run, "hazelcast-failover-open")
        self._thread.start()

    def cancel(self) -> threading.Thread:
        """Close the client, open or not, on another thread, and return that."""
        thread = helper_thread(self._cancel, "hazelcast-failover-close")
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self.client.__init__(self._config)  # type: ignore[misc]
        except Exception as error:
            self.error = _message_of(error)
            self.is_unsupported = isinstance(error, UnsupportedVersion)
        self._on_done(self)

    def _cancel(self) -> None:
        if self.is_unsupported:
            self.client.close_waker()
            return
        self.client.abandon()
        with resting():
            self._thread.join()
        self.client.abandon()  # again, for parts that the constructor has created since


def _message_of(error: Exception) -> str:
    """The message of an error. Some of the official client's raise when they are converted to text."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__
