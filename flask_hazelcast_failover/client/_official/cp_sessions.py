"""One session per CP group, however many threads need the first one at the same time.

The official client asks for a session for each of them, and the last answer wins: locks that were taken in the other
sessions are lost to their holders, and kept from everybody else until those sessions end on the member.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hazelcast.errors import HazelcastClientNotActiveError
from hazelcast.future import Future, ImmediateExceptionFuture, ImmediateFuture

from flask_hazelcast_failover.client._official.transport.clock import now

__all__ = ["share_sessions"]

# How long an answer may take before the next one who needs it asks once more, another member as a rule, seconds.
_PATIENCE = 1.0


def share_sessions(manager: Any) -> None:
    """Have all who need a session of a CP group wait for the same one.

    :param manager: the official client's ``ProxySessionManager``
    """
    manager._get_or_create_session = _Sessions(manager).get


@dataclass
class _Pending:
    """A session that was asked for and is not there yet."""

    session: Future[Any] = field(default_factory=Future)
    asked: float = 0.0  # when last, monotonic seconds
    unanswered: int = 0  # requests


class _Sessions:
    """The sessions of one official client. Fields, and those of its manager, are under the manager's lock."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._lock = manager._lock
        self._pending: dict[Any, _Pending] = {}

    def get(self, group: Any) -> Future[Any]:
        """The session of a group, which is valid or will be made."""
        with self._lock:
            if self._manager._shutdown:
                return ImmediateExceptionFuture(_shut_down())
            session = self._manager._sessions.get(group)
            if session is not None and session.is_valid():
                return ImmediateFuture(session)
            pending = self._pending.setdefault(group, _Pending())
            if pending.unanswered and now() - pending.asked < _PATIENCE:
                return pending.session
            pending.asked = now()
            pending.unanswered += 1
        self._manager._request_new_session(group).add_done_callback(partial(self._answered, group, pending))
        return pending.session

    def _answered(self, group: Any, pending: _Pending, answer: Future[Any]) -> None:
        error = None if answer.is_success() else answer.exception()
        with self._lock:
            pending.unanswered -= 1
            was_awaited = self._pending.get(group) is pending
            if was_awaited and error is not None and pending.unanswered:
                return  # another member may still say yes
            if was_awaited:
                del self._pending[group]
            is_kept = was_awaited and error is None and not self._manager._shutdown
            session = self._manager._do_create_new_session(answer, group) if is_kept else None
        if error is None and not is_kept:
            self._manager._request_close_session(group, answer.result()["session_id"])
        if is_kept:
            pending.session.set_result(session)
        elif was_awaited:
            pending.session.set_exception(error or _shut_down(), answer.traceback())  # type: ignore[arg-type]


def _shut_down() -> Exception:
    return HazelcastClientNotActiveError("Session manager is already shut down!")
