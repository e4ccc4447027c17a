"""SQL: statements run on the active link; a cursor stays with the link that it was opened on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from hazelcast.errors import HazelcastError, OperationTimeoutError, TargetDisconnectedError
from hazelcast.future import Future, ImmediateFuture
from hazelcast.sql import SqlResult, SqlRow, SqlRowMetadata, SqlService

from flask_hazelcast_failover.client._api.signatures import mirrors
from flask_hazelcast_failover.client._connect.link import CLIENT, Call, Link, LinkEnded, Overdue, call_numbers
from flask_hazelcast_failover.client._official import is_connection_problem, without_waiting
from flask_hazelcast_failover.client._operations.idempotency import Idempotency, MethodTraits, traits_of
from flask_hazelcast_failover.client._operations.operation import LOSS_ERRORS
from flask_hazelcast_failover.client._operations.operations import Operations
from flask_hazelcast_failover.client.status import State
from flask_hazelcast_failover.errors import ClientShutDown, ClusterChanged

__all__ = ["FollowingSql"]

_QUERIES = ("SELECT", "SHOW", "EXPLAIN", "VALUES")


class FollowingSql(SqlService):
    """The official service, over whatever link is active."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @mirrors(SqlService.execute)
    def execute(self, sql: str, *params: Any, **options: Any) -> Future[SqlResult]:
        # A query that was lost before its first row is repeated, every other statement is not.
        method = MethodTraits(Idempotency.READ) if _is_query(sql) else traits_of("SqlService", "execute")
        waits = _own_time(options.get("timeout"))

        def start(client: Any, link: Link) -> Future[Any]:
            executed: Future[Any] = client.sql.execute(sql, *params, **options)
            return executed.continue_with(lambda future: _result(self._operations, link, waits, future))

        return self._operations.submit(
            self._operations.operation(CLIENT, "sql.execute", method, start, waits=waits)
        )


def _is_query(sql: object) -> bool:
    return isinstance(sql, str) and sql.lstrip("( \t\r\n").upper().startswith(_QUERIES)


def _own_time(timeout: object) -> float:
    """How long each request of a statement may take on the member beyond the time for an answer, seconds.

    :param timeout: the statement's own; 0 is none, and without one (officially -1) the member's ends what it runs
    """
    if not isinstance(timeout, (int, float)):
        return 0.0
    return math.inf if timeout == 0 else max(0.0, float(timeout))


def _result(operations: Operations, link: Link, waits: float, executed: Future[Any]) -> SqlResult:
    try:
        return _Cursor(operations, link, waits, executed.result())
    except HazelcastError as error:
        if is_connection_problem(error):
            raise TargetDisconnectedError(str(error.args[0])) from error
        raise


class _Cursor(SqlResult):
    """A result whose rows are fetched from one link only."""

    def __init__(self, operations: Operations, link: Link, waits: float, real: SqlResult) -> None:
        self._operations = operations
        self._link = link
        self._waits = waits
        self._real = real

    def iterator(self) -> Iterator[Future[SqlRow]]:
        return _Futures(self, self._real.iterator())

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
        return closed if closed.is_success() else self.handed_out(closed, 0.0)

    def __iter__(self) -> Iterator[SqlRow]:
        return _Rows(self, self._real.iterator())

    def __enter__(self) -> SqlResult:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._link.is_connected():
            return
        closed = self.counted(self._real.close(), 0.0)
        # Nobody needs to know how closing goes on a cluster that was left.
        if self._operations.route.link is self._link:
            self.told(closed)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_real" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self._real, name)

    def fetched(self, row: Future[Any]) -> Any:
        """The row that is fetched, waited for."""
        return self.told(self.counted(row, self._waits))

    def fetching(self, row: Future[Any]) -> Future[Any]:
        """The row that is fetched, for a caller who does not wait."""
        return self.handed_out(row, self._waits)

    def __setattr__(self, name: str, value: object) -> None:
        # What is set on a result is meant for the official one.
        if "_real" not in self.__dict__ or name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            setattr(self._real, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._real, name)

    def counted(self, future: Future[Any], waits: float) -> Future[Any]:
        """The future among those in flight, so that it ends with its link or in time.

        :param waits: seconds that it may take beyond the time for an answer
        """
        if not future.done():
            number = call_numbers()
            self._link.calls[number] = Call(future, self._operations.limit + waits)
            future.add_done_callback(lambda _: self._link.left(number))
        return future

    def handed_out(self, future: Future[Any], waits: float) -> Future[Any]:
        """The same for a caller who does not wait: it ends once, and calls back on no thread that decides."""
        theirs: Future[Any] = Future()
        number = call_numbers()
        self._link.calls[number] = Call(future, self._operations.limit + waits)

        def fail() -> None:
            try:
                self.told(future)
            except Exception as error:
                with without_waiting():
                    theirs.set_exception(error)

        def done(_: Future[Any]) -> None:
            if self._link.calls.pop(number, None) is None:
                return  # an answer after its future was ended
            if future.is_success():
                theirs.set_result(future.result())
            elif isinstance(future.exception(), StopIteration):
                theirs.set_exception(future.exception())  # type: ignore[arg-type]  # there are no more rows
            else:
                self._operations.later(fail)

        future.add_done_callback(done)
        return theirs

    def told(self, future: Future[Any]) -> Any:
        """What the future gives, or the error that says what became of the cursor."""
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

    def check(self) -> None:
        """Refuse to go on once the client has moved."""
        if self._operations.route.link is not self._link:
            self._real.close()  # waits for nothing
            raise self._changed(None)

    def _changed(self, error: Exception | None) -> ClusterChanged | ClientShutDown:
        if self._operations.route.state is State.CLOSED:
            return ClientShutDown()
        why = f" ({type(error).__name__})" if error is not None else ""
        return ClusterChanged(
            f"the SQL cursor belongs to {self._link.label}, which the client has left or lost{why}:"
            " execute the query again"
        )


class _Futures(Iterator[Future[SqlRow]]):
    """The rows as futures. Goes on raising once it has raised, so that no row seems to be the last."""

    def __init__(self, cursor: _Cursor, real: Iterator[Future[SqlRow]]) -> None:
        self._cursor = cursor
        self._real = real

    def __next__(self) -> Future[SqlRow]:
        self._cursor.check()
        return self._cursor.fetching(next(self._real))


class _Rows(Iterator[SqlRow]):
    """The rows, waited for. Goes on raising likewise."""

    def __init__(self, cursor: _Cursor, real: Iterator[Future[SqlRow]]) -> None:
        self._cursor = cursor
        self._real = real

    def __next__(self) -> SqlRow:
        self._cursor.check()
        row: SqlRow = self._cursor.fetched(next(self._real))
        return row
