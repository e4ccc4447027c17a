"""What this client raises beyond the official client's own errors.

Each class also is an official error, so that code written for the official client catches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hazelcast.errors import (
    ClientOfflineError,
    HazelcastClientNotActiveError,
    HazelcastError,
    IndeterminateOperationStateError,
)

__all__ = [
    "ClientOfflineException",
    "ClientShutDown",
    "ClusterChanged",
    "MessageTooLarge",
    "OperationOutcomeUnknown",
]


class _Failure(HazelcastError):
    """An official error that can be printed and pickled.

    The official classes keep ``(message, cause)`` in ``args`` and some take no argument, so that
    ``str()`` or unpickling of a subclass fails; here ``args`` is always those two.
    """

    def __init__(self, message: str, cause: Exception | None = None) -> None:
        HazelcastError.__init__(self, message, cause)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self), (self.args[0],)


class ClientOfflineException(_Failure, ClientOfflineError):
    """No cluster can be reached. The message names each cluster, ten at most, and why."""


class ClientShutDown(_Failure, HazelcastClientNotActiveError):
    """The client was used after ``shutdown()``."""

    def __init__(self, message: str = "the client was shut down") -> None:
        super().__init__(message)


class OperationOutcomeUnknown(_Failure, IndeterminateOperationStateError):
    """The operation may or may not have run, and repeating it is not safe."""


class MessageTooLarge(_Failure):
    """The answer is larger than ``max_message_size``: it was not read, and the operation is not repeated."""


class ClusterChanged(_Failure):
    """What was asked belongs to a cluster that the client has left.

    That is a section, a transaction, an SQL cursor, a held lock, a permit of a semaphore or a ring
    buffer sequence.
    """
