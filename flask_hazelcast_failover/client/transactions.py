"""Transactions: they belong to one link. A graceful switch lets them finish, a loss ends them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from hazelcast.errors import OperationTimeoutError, TargetDisconnectedError
from hazelcast.future import Future
from hazelcast.transaction import Transaction

from flask_hazelcast_failover.client.link import CLIENT, Call, Link, Overdue, call_numbers
from flask_hazelcast_failover.client.methods import method_of
from flask_hazelcast_failover.client.operation import LOSSES
from flask_hazelcast_failover.client.operations import Operations
from flask_hazelcast_failover.errors import ClusterChanged, OperationOutcomeUnknown

__all__ = ["Transactions"]

# What a request over the connection of a transaction fails with when that is gone.
_LOST = (*LOSSES, OSError)


class Transactions:
    """Makes transactions on the active link."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def new_transaction(self, timeout: float, durability: int, transaction_type: int) -> Transaction:
        """A transaction that will belong to the link that is active when it begins."""

        def make(link: Link) -> Transaction:
            made: Transaction = link.client.new_transaction(timeout, durability, transaction_type)
            return made

        return _LinkTransaction(self._operations, make)


class _LinkTransaction(Transaction):
    """An official transaction whose requests end with its link, and say so clearly."""

    _link: Link

    def __init__(self, operations: Operations, make: Callable[[Link], Transaction]) -> None:
        self._operations = operations
        self._make = make
        self._begins = True  # a loss is not told as such: beginning can be done again elsewhere
        self._open: int | None = None  # its number among the operations in flight
        # Fails, as the official client does, when nothing can be reached.
        operation = operations.operation(
            CLIENT, "new_transaction", method_of("Transaction", "begin"), lambda _, link: self._adopt(link)
        )
        operations.run(operation)

    def begin(self) -> None:
        """Begins this transaction."""
        if self.state != Transaction.state or getattr(self._locals, "transaction_exists", False):
            super().begin()  # says what is wrong
        operation = self._operations.operation(
            CLIENT,
            "transaction.begin",
            method_of("Transaction", "begin"),
            lambda _, link: self._begin_on(link),
        )
        self._operations.run(operation)
        self._begins = False

    def commit(self) -> None:
        """Commits this transaction."""
        was_live = self._is_live()
        try:
            super().commit()
        except (ClusterChanged, OperationTimeoutError) as error:
            if not was_live:
                raise
            raise OperationOutcomeUnknown(
                f"Transaction.commit: {self._link.label} was lost or did not answer while it was under way;"
                f" the transaction may or may not have been committed there ({error.args[0]})"
            ) from error
        finally:
            self._ended()

    def rollback(self) -> None:
        """Rollback of this current transaction."""
        try:
            super().rollback()
        finally:
            self._ended()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        except (ClusterChanged, OperationTimeoutError):
            # The members roll back what a connection that is gone had begun; the block's own error tells more.
            if error is None:
                raise

    def _adopt(self, link: Link) -> None:
        self.__dict__.update(self._make(link).__dict__)
        self._link = link
        link.client.bind_transaction(self, self._future)

    def _begin_on(self, link: Link) -> None:
        if link is not self._link:
            self._adopt(link)
        number = call_numbers()
        link.calls[number] = Call(Future(), threading.TIMEOUT_MAX)
        try:
            super().begin()
        except OSError as error:
            del link.calls[number]
            raise TargetDisconnectedError(f"the connection to {link.label} is gone") from error
        except BaseException:
            del link.calls[number]
            raise
        self._open = number
        # One that nobody ends is not to hold up a switch for ever.
        weakref.finalize(self, link.calls.pop, number, None)

    def _is_live(self) -> bool:
        return self._link.is_connected() and bool(self.connection.live)

    def _ended(self) -> None:
        if self._open is not None:
            self._link.calls.pop(self._open, None)
            self._open = None

    def _future(self) -> Future[Any]:
        future: Future[Any] = Future() if self._begins else _TransactionFuture(self._link)
        number = call_numbers()
        link = self._link
        link.calls[number] = future
        future.add_done_callback(lambda _: link.left(number))
        return future


class _TransactionFuture(Future[Any]):
    """A future of a transaction, whose failure with the link is told as such."""

    def __init__(self, link: Link) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link

    def set_exception(self, exception: Exception, traceback: Any = None) -> None:
        if isinstance(exception, (Overdue, OperationTimeoutError)):
            exception = OperationTimeoutError(
                f"{self._link.label} did not answer a request of the transaction ({exception.args[0]})"
            )
        elif isinstance(exception, _LOST):
            exception = ClusterChanged(
                f"the transaction belongs to {self._link.label}, and its connection is gone"
                f" ({type(exception).__name__}): begin it again"
            )
        super().set_exception(exception, traceback)
