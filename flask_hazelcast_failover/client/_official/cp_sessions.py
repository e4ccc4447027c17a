"""One session per CP group, also when many threads need the first one at the same time.

The official ``ProxySessionManager`` requests one for each of them and keeps the last. Locks that were taken in the other
sessions are lost to their holders, and stay locked until those sessions expire on the members.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hazelcast.errors import HazelcastClientNotActiveError
from hazelcast.future import Future, ImmediateExceptionFuture, ImmediateFuture

from .transport.clock import now

# After how long without a response the next caller requests the session again, usually of another member, seconds.
_RETRY_AFTER = 1.0


def share_sessions(manager: Any) -> None:
    """Have all callers that need a session of a CP group wait for the same one.

    :param manager: the official client's ``ProxySessionManager``
    """
    manager._get_or_create_session = _Sessions(manager).get


@dataclass
class _PendingSession:
    """A session that was requested and does not exist yet."""

    session: Future[Any] = field(default_factory=Future)
    requested_at: float = 0.0  # for the last time, monotonic seconds
    unanswered: int = 0  # requests


class _Sessions:
    """The sessions of one official client. All fields, here and of the manager, are under the manager's lock."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._lock = manager._lock
        self._pending: dict[Any, _PendingSession] = {}

    def get(self, group: Any) -> Future[Any]:
        """The valid session of a group, or the one that is being created."""
        with self._lock:
            if self._manager._shutdown:
                return ImmediateExceptionFuture(_shut_down())
            session = self._manager._sessions.get(group)
            if session is not None and session.is_valid():
                return ImmediateFuture(session)
            pending = self._pending.setdefault(group, _PendingSession())
            if pending.unanswered and now() - pending.requested_at < _RETRY_AFTER:
                return pending.session
            pending.requested_at = now()
            pending.unanswered += 1
        self._manager._request_new_session(group).add_done_callback(
            partial(self._on_response, group, pending)
        )
        return pending.session

    def _on_response(self, group: Any, pending: _PendingSession, response: Future[Any]) -> None:
        error = None if response.is_success() else response.exception()
        with self._lock:
            pending.unanswered -= 1
            is_current = self._pending.get(group) is pending
            if is_current and error is not None and pending.unanswered:
                return  # another request may still succeed
            if is_current:
                del self._pending[group]
            is_kept = is_current and error is None and not self._manager._shutdown
            session = self._manager._do_create_new_session(response, group) if is_kept else None
        if error is None and not is_kept:
            self._manager._request_close_session(group, response.result()["session_id"])
        if is_kept:
            pending.session.set_result(session)
        elif is_current:
            pending.session.set_exception(error or _shut_down(), response.traceback())  # type: ignore[arg-type]


def _shut_down() -> Exception:
    return HazelcastClientNotActiveError("Session manager is already shut down!")
