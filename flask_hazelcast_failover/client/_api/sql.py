"""SQL: statements run on the active link; a cursor belongs to the link that it was opened on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from hazelcast.errors import HazelcastError, OperationTimeoutError, TargetDisconnectedError
from hazelcast.future import Future, ImmediateFuture
from hazelcast.sql import SqlResult, SqlRow, SqlRowMetadata, SqlService

from ...errors import ClientShutDown, ClusterChanged
from .._connect.link import CLIENT, CallInFlight, Link, LinkEnded, Overdue
from .._official import LightFuture, call_without_waiting, is_connection_problem, subscribe
from .._operations.idempotency import READ, traits_of
from .._operations.operation import LOSS_ERRORS
from .._operations.operations import Operations
from ..status import State
from .signatures import mirrors

_Row = TypeVar("_Row")

_QUERIES = ("SELECT", "SHOW", "EXPLAIN", "VALUES")


class FollowingSql(SqlService):
    """The official service, on the active link."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @mirrors(SqlService.execute)
    def execute(self, sql: str, *params: Any, **options: Any) -> Future[SqlResult]:
        # A query that is lost before its first row is repeated, no other statement is.
        traits = READ if _is_query(sql) else traits_of("SqlService", "execute")
        own_timeout = _own_timeout(options.get("timeout"))

        def start(client: Any, link: Link) -> Future[Any]:
            executed: Future[Any] = client.sql.execute(sql, *params, **options)
            return executed.continue_with(lambda future: _result(self._operations, link, own_timeout, future))

        operation = self._operations.operation(CLIENT, "sql.execute", traits, start, own_timeout=own_timeout)
        return self._operations.submit(operation)


def _is_query(sql: object) -> bool:
    return isinstance(sql, str) and sql.lstrip("( \t\r\n").upper().startswith(_QUERIES)


def _own_timeout(timeout: object) -> float:
    """How long each request of a statement may take on the member beyond the time for an answer, seconds.

    Of the statement's own timeout 0 means none, -1 (the official default) the member's.
    """
    if not isinstance(timeout, (int, float)):
        return 0.0
    return math.inf if timeout == 0 else max(0.0, float(timeout))


def _result(operations: Operations, link: Link, own_timeout: float, executed: Future[Any]) -> SqlResult:
    try:
        return _Cursor(operations, link, own_timeout, executed.result())
    except HazelcastError as error:
        if is_connection_problem(error):
            raise TargetDisconnectedError(str(error.args[0])) from error
        raise


class _Cursor(SqlResult):
    """A result whose rows are fetched over one link only."""

    def __init__(self, operations: Operations, link: Link, own_timeout: float, real: SqlResult) -> None:
        self._operations = operations
        self._link = link
        self._own_timeout = own_timeout
        self._real = real

    def iterator(self) -> Iterator[Future[SqlRow]]:
        return _Rows(self._check, self._fetch_async, self._real.iterator())

    def is_row_set(self) -> bool:
        return self._real.is_row_set()

    def update_count(self) -> int:
        return self._real.update_count()

    def get_row_metadata(self) -> SqlRowMetadata:
        return self._real.get_row_metadata()

    def close(self) -> Future[None]:
        if not self._link.is_connected():
            return ImmediateFuture(None)  # closed with its connection
        closed = self._real.close()
        return closed if closed.is_success() else self._for_caller(closed, 0.0)

    def __iter__(self) -> Iterator[SqlRow]:
        return _Rows(self._check, self._fetch, self._real.iterator())

    def __exit__(self, *error: object) -> None:
        if not self._link.is_connected():
            return
        closed = self._counted(self._real.close(), 0.0)
        # On a cluster that was left, the block does not wait for the close, nor fail with it.
        if self._operations.route.link is self._link:
            self._result_of(closed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_real" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        # What is set on a result is meant for the official one.
        if "_real" not in self.__dict__ or name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._real, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._real, name)

    def _fetch(self, row: Future[Any]) -> Any:
        return self._result_of(self._counted(row, self._own_timeout))

    def _fetch_async(self, row: Future[Any]) -> Future[Any]:
        return self._for_caller(row, self._own_timeout)

    def _check(self) -> None:
        """Refuse to continue once the client has moved."""
        if self._operations.route.link is not self._link:
            self._real.close()  # does not wait
            raise self._changed(None)

    def _counted(self, future: Future[Any], own_timeout: float) -> Future[Any]:
        # Counted in flight, so that it ends with the link or in time.
        if not future.done():
            self._link.count_until_done(future, self._operations.timeout + own_timeout)
        return future

    def _for_caller(self, future: Future[Any], own_timeout: float) -> Future[Any]:
        """A future that ends once, and whose callbacks hold up neither the controller nor the health monitor."""
        caller_future: Future[Any] = LightFuture()
        call = CallInFlight(self._link)
        call.expect(future, self._operations.timeout + own_timeout)  # counts it in as well

        def fail() -> None:
            try:
                self._result_of(future)
            except Exception as error:
                call_without_waiting(caller_future.set_exception, error)

        def complete() -> None:
            if future.is_success():
                caller_future.set_result(future.result())
            elif isinstance(future.exception(), StopIteration):
                caller_future.set_exception(future.exception())  # type: ignore[arg-type]  # there are no more rows
            else:
                self._operations.complete_soon(fail)

        number = self._operations.outstanding.add(caller_future, future, complete)

        def done(_: Future[Any]) -> None:
            if call.end():  # else a late answer: the link has ended the future before
                complete()
                self._operations.outstanding.remove(number)

        subscribe(future, done)
        return caller_future

    def _result_of(self, future: Future[Any]) -> Any:
        """The result of a request, or the error that says what became of the cursor."""
        try:
            return future.result()
        except (Overdue, OperationTimeoutError) as error:
            raise OperationTimeoutError(f"{self._link.label} did not answer ({error.args[0]})") from None
        except (LinkEnded, *LOSS_ERRORS) as error:
            raise self._changed(error) from None
        except HazelcastError as error:
            if is_connection_problem(error):
                raise self._changed(error) from error
            raise

    def _changed(self, error: Exception | None) -> ClusterChanged | ClientShutDown:
        if self._operations.route.state is State.CLOSED:
            return ClientShutDown()
        why = f" ({type(error).__name__})" if error is not None else ""
        return ClusterChanged(
            f"the SQL cursor belongs to {self._link.label}, which the client has left or lost{why}:"
            " execute the query again"
        )


@dataclass(eq=False)
class _Rows(Iterator[_Row]):
    """The rows, or futures of them. Once it has raised it raises again, so that a lost row does not look like the end."""

    check: Callable[[], None]
    fetch: Callable[[Future[SqlRow]], _Row]
    real: Iterator[Future[SqlRow]]

    def __next__(self) -> _Row:
        self.check()
        return self.fetch(next(self.real))
