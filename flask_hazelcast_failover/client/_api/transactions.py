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

from ..._threads import Latch
from ...errors import ClientShutDown, ClusterChanged, OperationOutcomeUnknown
from .._connect.link import CLIENT, CallInFlight, Link, Overdue
from .._official import LightFuture, MonotonicTransaction
from .._operations.idempotency import traits_of
from .._operations.operation import LOSS_ERRORS, own_timeout_of
from .._operations.operations import Operations
from ..status import State

# What the official client raises for a request when the connection of its transaction is gone.
_LOST = (*LOSS_ERRORS, OSError)
# How long a rollback waits for a request whose caller does not wait any more, seconds.
_ABANDONED_TIMEOUT = 1.0
# What the request then raises here.
_ENDED = (ClientShutDown, ClusterChanged, OperationTimeoutError)


class Transactions:
    """Makes transactions on the active link."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def new_transaction(self, timeout: float, durability: int, transaction_type: int) -> Transaction:
        """A transaction that will belong to the link that is active when it begins."""
        return _LinkTransaction(self._operations, (timeout, durability, transaction_type))


class _LinkTransaction(MonotonicTransaction):
    """An official transaction whose requests end with its link, with an error that says so."""

    _link: Link

    def __init__(self, operations: Operations, arguments: tuple[float, int, int]) -> None:
        self._operations = operations
        self._arguments = arguments
        self._is_beginning = True  # a loss is left to operations.run(), which begins it again elsewhere
        self._call: CallInFlight | None = None  # from begin to commit or rollback
        self._own_timeout = 0.0  # of the method that is being called, seconds
        self._last: Future[Any] | None = None  # of the latest request
        # Fails when no cluster can be reached, as the official client does.
        self._run("new_transaction", self._adopt)

    def begin(self) -> None:
        """Begins this transaction."""
        if self.state != Transaction.state or getattr(self._locals, "transaction_exists", False):
            super().begin()  # says what is wrong
        self._run("transaction.begin", self._begin_on)
        self._is_beginning = False

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
            self._end_call()

    def get_queue(self, name: str) -> transactional_queue.TransactionalQueue[Any]:
        """Returns the transactional queue instance with the specified name."""
        queue: TransactionalQueue = self._get_or_create_object(name, TransactionalQueue)  # type: ignore[no-untyped-call]
        return queue

    def rollback(self) -> None:
        """Rollback of this current transaction."""
        try:
            self._let_last_request_end()
            super().rollback()
        finally:
            self._end_call()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        except _ENDED:
            # The members roll it back when its connection is gone; the block's own error says more.
            if error is None:
                raise

    def _run(self, name: str, start: Callable[[Link], None]) -> None:
        traits = traits_of("Transaction", "begin")
        self._operations.call(CLIENT, name, traits, lambda _, link: start(link))

    def _adopt(self, link: Link) -> None:
        try:
            made = link.client.new_transaction(*self._arguments)
        except IllegalStateError as error:
            # No connection is left, and the controller does not know yet.
            raise ClientOfflineError from error
        self.__dict__.update(made.__dict__)
        self._link = link
        link.client.guard_transaction(self, self._future)

    def _begin_on(self, link: Link) -> None:
        if link is not self._link:
            self._adopt(link)
        call = CallInFlight(link)
        try:
            call.expect(LightFuture(), threading.TIMEOUT_MAX)  # counts it in as well
            super().begin()
        except BaseException as error:
            call.end()
            if isinstance(error, OSError):
                raise TargetDisconnectedError(f"the connection to {link.label} is gone") from error
            raise
        self._call = call
        # An abandoned transaction must not hold up switches for ever.
        weakref.finalize(self, call.end)

    def _is_live(self) -> bool:
        return self._link.is_connected() and bool(self.connection.live)

    def _was_shut_down(self) -> bool:
        return self._operations.route.state is State.CLOSED

    def _end_call(self) -> None:
        if self._call is not None:
            self._call.end()
            self._call = None

    def _let_last_request_end(self) -> None:
        """Wait for a request whose caller was interrupted, by a signal or a time limit.

        Members might run it after the rollback, and then keep what it locks until the transaction's time-out.
        """
        if self._last is None or self._last.done():
            return
        ended = Latch()
        self._last.add_done_callback(ended.set)
        ended.wait(_ABANDONED_TIMEOUT)

    def _future(self) -> Future[Any]:
        is_beginning, link = self._is_beginning, self._link
        future: Future[Any] = LightFuture() if is_beginning else _TransactionFuture(link, self._was_shut_down)
        link.count_until_done(future, self._operations.timeout + self._own_timeout)
        self._last = future
        return future


class TransactionalQueue(transactional_queue.TransactionalQueue[Any]):
    """The official one, whose timeouts are added to the time for an answer."""

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
        transaction._own_timeout = own_timeout_of(traits_of("TransactionalQueue", name), timeout, {}, 0)
        try:
            yield
        finally:
            transaction._own_timeout = 0.0


class _TransactionFuture(LightFuture):
    """The future of a request of a transaction, which fails with what became of the transaction."""

    def __init__(self, link: Link, was_shut_down: Callable[[], bool]) -> None:
        super().__init__()
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
