"""The requests of a health check: one that every data member can answer, followed by a ping.

The first cancels a task that does not exist, on a partition of the member. So it takes the path of an operation through
the member, but touches no structure, nor what a configuration may attach to one (split-brain protection, a map
loader, a map store).
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

from .transport.reactor import ReactorClock
from .transport.traffic import MeasuredConnection, TrackedMessage

# ExecutorService.CancelOnPartition of the open binary client protocol, for which the official client has no codec.
_CANCEL_ON_PARTITION = 0x080300
_INTERRUPT_OFFSET = REQUEST_HEADER_SIZE + UUID_SIZE_IN_BYTES
_NO_TASK = UUID(int=0x7FFF_FFFF_FFFF_FFFF)
# Errors that mean that the member did not answer.
_NO_ANSWER = (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastInstanceNotActiveError,
    OperationTimeoutError,
    OSError,
    TargetDisconnectedError,
)
# Errors by which a member reports the same of another one.
_NO_ANSWER_FROM_OTHER = (MemberLeftError, TargetNotMemberError)
_MACHINE_ERROR = re.compile(r"Exception from server: (java\.lang\.\w+Error)\b")


class CheckInvocation(Invocation):
    """A request that is never resent: the first response is its answer."""

    __slots__ = ()

    def __init__(self, request: OutboundMessage, connection: MeasuredConnection, partition: int = -1) -> None:
        super().__init__(request, partition_id=partition, connection=connection, urgent=True)  # type: ignore[no-untyped-call]


class CheckRequest:
    """A check that was sent to one member, and the ping after it.

    :param invoke: the official client's method that sends an invocation
    :param connection: the connection to send it over
    :param partition: one that the member owns
    :param clock: of the reactor that reads the answer
    :param member: the id of the member that has to answer
    """

    def __init__(
        self, invoke: Any, connection: MeasuredConnection, partition: int, clock: ReactorClock, member: UUID
    ) -> None:
        self.connection = connection
        self.clock = clock
        # Otherwise the other member forwards the check, and answers the ping itself.
        self.is_direct = connection.remote_uuid == member
        self._invoke = invoke
        check = CheckInvocation(_encode_check(), connection, partition)
        self._message: TrackedMessage = check.request.buf
        self.answer: Future[Any] = check.future
        invoke(check)
        self.ping_again()

    def ping_again(self) -> None:
        """Send another ping, and replace ``ping`` by its future."""
        ping = CheckInvocation(client_ping_codec.encode_request(), self.connection)
        self.ping: Future[Any] = ping.future
        self._invoke(ping)

    def is_acknowledged(self, acknowledged: int) -> bool:
        """Whether the peer has all bytes of the check, given how many of the stream it has acknowledged."""
        end = self._message.end
        return end is not None and acknowledged >= end

    def is_answered(self) -> bool:
        """Whether the member has answered the check, also if with an error."""
        return _is_answer(self.answer) and (
            self.is_direct or not isinstance(self.answer.exception(), _NO_ANSWER_FROM_OTHER)
        )

    def has_failed(self) -> bool:
        """Whether the check has ended without an answer from the member."""
        return self.answer.done() and not self.is_answered()

    def is_ping_answered(self) -> bool:
        """Whether the peer of the connection has answered the ping."""
        return _is_answer(self.ping)


def machine_error(check: Future[Any]) -> str | None:
    """The Java error by which a member failed to answer, such as ``java.lang.OutOfMemoryError``."""
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
