"""What a health check sends: a request that every data member can answer, and a ping behind it.

The request cancels a task that no executor has, on a partition of the member. So it takes the way of an
operation through the member, touches no structure, and nothing that a configuration may bind to a
structure (split-brain protection, a loader, a store) has a part in it.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastInstanceNotActiveError,
    MemberLeftError,
    OperationTimeoutError,
    TargetDisconnectedError,
    TargetNotMemberError,
)
from hazelcast.future import Future
from hazelcast.invocation import Invocation
from hazelcast.protocol.builtin import FixSizedTypesCodec
from hazelcast.protocol.client_message import REQUEST_HEADER_SIZE, OutboundMessage, create_initial_buffer
from hazelcast.protocol.codec import client_ping_codec
from hazelcast.serialization.bits import BOOLEAN_SIZE_IN_BYTES, UUID_SIZE_IN_BYTES

from flask_hazelcast_failover.client._official.transport.reactor import ReactorClock
from flask_hazelcast_failover.client._official.transport.traffic import MeasuredConnection, TrackedMessage

__all__ = ["CheckInvocation", "CheckRequest", "machine_error"]

# ExecutorService.CancelOnPartition of the open binary client protocol, which the official client has no codec for.
_CANCEL_ON_PARTITION = 0x080300
_INTERRUPT_OFFSET = REQUEST_HEADER_SIZE + UUID_SIZE_IN_BYTES
_NO_TASK = UUID(int=0x7FFF_FFFF_FFFF_FFFF)
# Errors that say that the member was not there to answer.
_NO_ANSWER = (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastInstanceNotActiveError,
    OperationTimeoutError,
    OSError,
    TargetDisconnectedError,
)
# Errors in which a member says so of another one.
_NO_ANSWER_OF_ANOTHER = (MemberLeftError, TargetNotMemberError)
_MACHINE_ERROR = re.compile(r"Exception from server: (java\.lang\.\w+Error)\b")


class CheckInvocation(Invocation):
    """A request that is sent once: whatever comes back first is its answer."""

    __slots__ = ()

    def __init__(self, request: OutboundMessage, connection: MeasuredConnection, partition: int = -1) -> None:
        super().__init__(request, partition_id=partition, connection=connection, urgent=True)  # type: ignore[no-untyped-call]


class CheckRequest:
    """A check that was sent to one member, and the ping behind it.

    :param invoke: the official client's method that sends an invocation
    :param connection: over which it is sent
    :param partition: one that the member owns
    :param clock: of the reactor that reads the answer
    :param member: the id of the member that is to answer
    """

    def __init__(
        self, invoke: Any, connection: MeasuredConnection, partition: int, clock: ReactorClock, member: UUID
    ) -> None:
        self.connection = connection
        self.clock = clock
        # Else the connection leads to another member, which passes the check on and answers the ping itself.
        self.is_direct = connection.remote_uuid == member
        self._invoke = invoke
        check = CheckInvocation(_encode_check(), connection, partition)
        self._message: TrackedMessage = check.request.buf
        self.answer: Future[Any] = check.future
        invoke(check)
        self.ping_again()

    def ping_again(self) -> None:
        """Send another ping; from now on ``ping`` is its answer."""
        ping = CheckInvocation(client_ping_codec.encode_request(), self.connection)
        self.ping: Future[Any] = ping.future
        self._invoke(ping)

    def is_acknowledged(self, acknowledged: int) -> bool:
        """Whether the peer has all of the check, when it has so many bytes of the stream."""
        end = self._message.end
        return end is not None and acknowledged >= end

    def is_answered(self) -> bool:
        """Whether the member has answered the check, be it with an error."""
        return _is_answer(self.answer) and (
            self.is_direct or not isinstance(self.answer.exception(), _NO_ANSWER_OF_ANOTHER)
        )

    def has_failed(self) -> bool:
        """Whether the check has ended without an answer of the member."""
        return self.answer.done() and not self.is_answered()

    def is_ping_answered(self) -> bool:
        """Whether whoever is at the other end of the connection has answered the ping."""
        return _is_answer(self.ping)


def machine_error(check: Future[Any]) -> str | None:
    """The Java error that a member met instead of answering, such as ``java.lang.OutOfMemoryError``."""
    error = check.exception() if check.done() else None
    found = _MACHINE_ERROR.match(str(error.args[0])) if error is not None and error.args else None
    return found.group(1) if found else None


def _encode_check() -> OutboundMessage:
    size = _INTERRUPT_OFFSET + BOOLEAN_SIZE_IN_BYTES
    buffer = TrackedMessage(create_initial_buffer(size, _CANCEL_ON_PARTITION, True))
    FixSizedTypesCodec.encode_uuid(buffer, REQUEST_HEADER_SIZE, _NO_TASK)
    FixSizedTypesCodec.encode_boolean(buffer, _INTERRUPT_OFFSET, False)
    return OutboundMessage(buffer, False)


def _is_answer(future: Future[Any]) -> bool:
    if not future.done():
        return False
    error = future.exception()
    return error is None or not (isinstance(error, _NO_ANSWER) or machine_error(future))
