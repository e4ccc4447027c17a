"""Transactions: they belong to one link. A graceful switch lets them finish, a loss ends them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from hazelcast.errors import (
    ClientOfflineError,
    IllegalStateError,
    OperationTimeoutError,
    TargetDisconnectedError,
)
from hazelcast.future import Future
from hazelcast.proxy import transactional_queue
from hazelcast.transaction import Transaction

from flask_hazelcast_failover.client._connect.link import CLIENT, Call, Link, Overdue, call_numbers
from flask_hazelcast_failover.client._official import MonotonicTransaction
from flask_hazelcast_failover.client._operations.idempotency import traits_of
from flask_hazelcast_failover.client._operations.operation import LOSS_ERRORS, own_timeout
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientShutDown, ClusterChanged, OperationOutcomeUnknown

__all__ = ["Transactions"]

# What a request over the connection of a transaction fails with when that is gone.
_LOST = (*LOSS_ERRORS, OSError)
# What such a request then raises.
_ENDED = (ClientShutDown, ClusterChanged, OperationTimeoutError)


class Transactions:
    """Makes transactions on the active link."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def new_transaction(self, timeout: float, durability: int, transaction_type: int) -> Transaction:
        """A transaction that will belong to the link that is active when it begins."""

        def make(link: Link) -> Transaction:
            try:
                made: Transaction = link.client.new_transaction(timeout, durability, transaction_type)
            except (
                IllegalStateError
            ) as error:  # no connection is left, and the controller has not heard of it yet
                raise ClientOfflineError from error
            return made

        return _LinkTransaction(self._operations, make)


class _LinkTransaction(MonotonicTransaction):
    """An official transaction whose requests end with its link, and say so clearly."""

    _link: Link

    def __init__(self, operations: Operations, make: Callable[[Link], Transaction]) -> None:
        self._operations = operations
        self._make = make
        self._begins = True  # a loss is not told as such: beginning can be done again elsewhere
        self._open: int | None = None  # its number among the operations in flight
        self._waits = 0.0  # how long the method that is called may block on the member by itself, seconds
        # Fails, as the official client does, when nothing can be reached.
        operation = operations.operation(
            CLIENT, "new_transaction", traits_of("Transaction", "begin"), lambda _, link: self._adopt(link)
        )
        operations.run(operation)

    def begin(self) -> None:
        """Begins this transaction."""
        if self.state != Transaction.state or getattr(self._locals, "transaction_exists", False):
            super().begin()  # says what is wrong
        operation = self._operations.operation(
            CLIENT,
            "transaction.begin",
            traits_of("Transaction", "begin"),
            lambda _, link: self._begin_on(link),
        )
        self._operations.run(operation)
        self._begins = False

    def commit(self) -> None:
        """Commits this transaction."""
        was_live = self._is_live()
        try:
            super().commit()
        except _ENDED as error:
            if not was_live:
                raise
            raise OperationOutcomeUnknown(
                f"Transaction.commit: {self._link.label} was lost or did not answer while it was under way;"
                f" the transaction may or may not have been committed there ({error.args[0]})"
            ) from error
        finally:
            self._ended()

    def get_queue(self, name: str) -> transactional_queue.TransactionalQueue[Any]:
        """Returns the transactional queue instance with the specified name."""
        queue: TransactionalQueue = self._get_or_create_object(name, TransactionalQueue)  # type: ignore[no-untyped-call]
        return queue

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
        except _ENDED:
            # The members roll back what a connection that is gone had begun; the block's own error tells more.
            if error is None:
                raise

    def _adopt(self, link: Link) -> None:
        self.__dict__.update(self._make(link).__dict__)
        self._link = link
        link.client.guard_transaction(self, self._future)

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

    def _was_shut_down(self) -> bool:
        return self._operations.route.state is State.CLOSED

    def _ended(self) -> None:
        if self._open is not None:
            self._link.calls.pop(self._open, None)
            self._open = None

    def _future(self) -> Future[Any]:
        future: Future[Any] = (
            Future() if self._begins else _TransactionFuture(self._link, self._was_shut_down)
        )
        number = call_numbers()
        link = self._link
        link.calls[number] = Call(future, self._operations.limit + self._waits)
        future.add_done_callback(lambda _: link.left(number))
        return future


class TransactionalQueue(transactional_queue.TransactionalQueue[Any]):
    """The official one, whose own timeouts come on top of the time for an answer."""

    def offer(self, item: Any, timeout: float = 0) -> bool:
        with self._waiting("offer", timeout):
            return super().offer(item, timeout)

    def take(self) -> Any:
        with self._waiting("take"):
            return super().take()

    def poll(self, timeout: float = 0) -> Any:
        with self._waiting("poll", timeout):
            return super().poll(timeout)

    def peek(self, timeout: float = 0) -> Any:
        with self._waiting("peek", timeout):
            return super().peek(timeout)

    @contextmanager
    def _waiting(self, name: str, *timeout: float) -> Iterator[None]:
        transaction: _LinkTransaction = self.transaction
        transaction._waits = own_timeout(traits_of("TransactionalQueue", name), timeout, {}, 0)
        try:
            yield
        finally:
            transaction._waits = 0.0


class _TransactionFuture(Future[Any]):
    """A future of a transaction, whose failure with the link is told as such."""

    def __init__(self, link: Link, was_shut_down: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._link = link
        self._was_shut_down = was_shut_down

    def set_exception(self, exception: Exception, traceback: Any = None) -> None:
        if isinstance(exception, (Overdue, OperationTimeoutError)):
            exception = OperationTimeoutError(
                f"{self._link.label} did not answer a request of the transaction ({exception.args[0]})"
            )
        elif isinstance(exception, _LOST) and self._was_shut_down():
            exception = ClientShutDown()
        elif isinstance(exception, _LOST):
            exception = ClusterChanged(
                f"the transaction belongs to {self._link.label}, and its connection is gone"
                f" ({type(exception).__name__}): begin it again"
            )
        super().set_exception(exception, traceback)
