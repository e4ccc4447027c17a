"""Transactions: they belong to one link. A graceful switch lets them finish, a loss ends them."""

from __future__ import annotations

import time
from typing import Any

from hazelcast.future import Future
from hazelcast.transaction import Transaction

from flask_hazelcast_failover.client.link import CLIENT, Call, Link, call_numbers
from flask_hazelcast_failover.client.methods import Kind, Method
from flask_hazelcast_failover.client.operations import LOSSES, Operations
from flask_hazelcast_failover.errors import ClusterChanged, OperationOutcomeUnknown

__all__ = ["Transactions"]


class Transactions:
    """Makes transactions on the active link."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def new_transaction(self, timeout: float, durability: int, transaction_type: int) -> Transaction:
        """A transaction that belongs to the link that is active now."""

        def start(client: Any, link: Link) -> Transaction:
            real = client.new_transaction(timeout, durability, transaction_type)
            return _LinkTransaction(real, link, self._operations.limit)

        operation = self._operations.operation(CLIENT, "new_transaction", Method(Kind.READ), start)
        transaction: Transaction = self._operations.run(operation)
        return transaction


class _LinkTransaction(Transaction):
    """An official transaction whose requests end with its link, and say so clearly."""

    def __init__(self, real: Transaction, link: Link, limit: float) -> None:
        self.__dict__.update(real.__dict__)
        self._link = link
        self._limit = limit
        self._open: int | None = None  # its number among the operations in flight
        link.client.bind_transaction(self, self._future)

    def begin(self) -> None:
        """Begins this transaction."""
        number = call_numbers()
        self._link.calls[number] = Call(Future(), time.monotonic(), float("inf"))
        try:
            super().begin()
        except BaseException:
            del self._link.calls[number]
            raise
        self._open = number

    def commit(self) -> None:
        """Commits this transaction."""
        gone = not self._link.is_connected()
        try:
            super().commit()
        except ClusterChanged as error:
            if gone:
                raise
            raise OperationOutcomeUnknown(
                f"Transaction.commit: the connection to {self._link.label} was lost while it was under"
                " way; the transaction may or may not have been committed there"
            ) from error
        finally:
            self._ended()

    def rollback(self) -> None:
        """Rollback of this current transaction."""
        try:
            super().rollback()
        finally:
            self._ended()

    def _ended(self) -> None:
        if self._open is not None:
            self._link.calls.pop(self._open, None)
            self._open = None

    def _future(self) -> Future[Any]:
        future = _LinkFuture(self._link)
        number = call_numbers()
        self._link.calls[number] = Call(future, time.monotonic(), self._limit)
        future.add_done_callback(lambda _: self._link.calls.pop(number, None))
        return future


class _LinkFuture(Future[Any]):
    """A future of a transaction, whose failure with the link is told as such."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def set_exception(self, exception: Exception, traceback: Any = None) -> None:
        if isinstance(exception, (*LOSSES, OSError)):
            exception = ClusterChanged(
                f"the transaction belongs to {self._link.label}, and the connection to it is gone or does"
                f" not answer ({exception}): begin it again",
            )
        super().set_exception(exception, traceback)
