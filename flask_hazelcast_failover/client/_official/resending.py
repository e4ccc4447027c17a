"""Stops the official client from resending requests that may have run: the caller decides about a repeat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hazelcast.errors import TargetDisconnectedError
from hazelcast.future import Future
from hazelcast.invocation import Invocation
from hazelcast.protocol.client_message import _OUTBOUND_MESSAGE_MESSAGE_TYPE_OFFSET as _TYPE_OFFSET
from hazelcast.protocol.codec import (
    ringbuffer_capacity_codec,
    ringbuffer_head_sequence_codec,
    ringbuffer_read_many_codec,
)
from hazelcast.serialization import LE_INT
from hazelcast.sql import HazelcastSqlError, _SqlErrorCode

from .checks import CheckInvocation
from .transport.futures import lighten

FutureGuard = Callable[[], Future[Any]]
"""Returns the future that an invocation has to complete."""

# The reads of a reliable topic's listeners. A listener ends if one fails.
_RELIABLE_READS = frozenset(
    codec._REQUEST_MESSAGE_TYPE
    for codec in (ringbuffer_capacity_codec, ringbuffer_head_sequence_codec, ringbuffer_read_many_codec)
)


def use_light_futures(invocations: Any) -> None:
    """Have an invocation service complete its futures without their locks, which a user's thread may have left taken."""
    invoke = invocations.invoke

    def invoke_light(invocation: Invocation) -> None:
        lighten(invocation.future)
        invoke(invocation)

    invocations.invoke = invoke_light


def may_resend(official: Callable[[Any, Exception], bool], invocation: Any, error: Exception) -> bool:
    """Replaces ``InvocationService._should_retry``, which resends some requests after their connection was lost."""
    if isinstance(invocation, CheckInvocation):
        return False
    if isinstance(error, TargetDisconnectedError):
        return LE_INT.unpack_from(invocation.request.buf, _TYPE_OFFSET)[0] in _RELIABLE_READS
    return official(invocation, error)


def publish_or_raise(add: Callable[[Any], Future[Any]], messages: Any) -> Future[None]:
    """Replaces ``ReliableTopic._add_with_backoff`` and the like, which return an error as a result."""

    def published(future: Future[Any]) -> None:
        error = future.result()
        if isinstance(error, Exception):
            raise error

    return add(messages).continue_with(published)


def count_or_raise(proxy: Any, future: Future[Any], delegated_future: Future[Any], **rest: Any) -> None:
    """Replaces ``PNCounter._check_invocation_result``, which repeats an addition on another member after a loss."""
    error = None if future.is_success() else future.exception()
    if isinstance(error, TargetDisconnectedError):
        proxy._current_target_replica_address = None
        delegated_future.set_exception(error)
    else:
        type(proxy)._check_invocation_result(proxy, future, delegated_future, **rest)


def is_connection_problem(error: Exception) -> bool:
    """Whether an SQL error means that the connection was lost."""
    return isinstance(error, HazelcastSqlError) and error._code == _SqlErrorCode.CONNECTION_PROBLEM


class GuardedContext:
    """The official context with an invocation service that completes the futures of ``guard``."""

    def __init__(self, context: Any, guard: FutureGuard) -> None:
        self.__dict__.update(context.__dict__)
        self.invocation_service = _GuardedInvocations(context.invocation_service, guard)


class _GuardedInvocations:
    def __init__(self, service: Any, guard: FutureGuard) -> None:
        self._service = service
        self._guard = guard

    def invoke(self, invocation: Invocation) -> None:
        invocation.future = self._guard()
        self._service.invoke(invocation)
