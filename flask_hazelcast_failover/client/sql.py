"""SQL: statements run on the active link; a cursor stays with the link that it was opened on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from hazelcast.errors import HazelcastError, TargetDisconnectedError
from hazelcast.future import Future
from hazelcast.sql import SqlResult, SqlRow, SqlRowMetadata, SqlService

from flask_hazelcast_failover.client.link import CLIENT, Call, Link, LinkEnded, Overdue, call_numbers
from flask_hazelcast_failover.client.methods import Kind, Method
from flask_hazelcast_failover.client.official import is_connection_problem
from flask_hazelcast_failover.client.operations import Operations
from flask_hazelcast_failover.errors import ClusterChanged

__all__ = ["FollowingSql"]

_READS = ("SELECT", "SHOW", "EXPLAIN", "VALUES")


class FollowingSql(SqlService):
    """The official service, over whatever link is active."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def execute(self, sql: str, *params: Any, **options: Any) -> Future[SqlResult]:
        """Executes an SQL statement.

        A query that was lost before its first row is repeated, every other statement is not.
        """
        is_query = isinstance(sql, str) and sql.lstrip().upper().startswith(_READS)
        kind = Kind.READ if is_query else Kind.ONCE

        def start(client: Any, link: Link) -> Future[Any]:
            executed: Future[Any] = client.sql.execute(sql, *params, **options)
            return executed.continue_with(lambda future: _result(self._operations, link, future))

        waits = max(0.0, options.get("timeout") or 0.0)
        operation = self._operations.operation(
            CLIENT, "sql.execute", Method(kind), start, waits=waits
        )
        return self._operations.submit(operation)


def _result(operations: Operations, link: Link, executed: Future[Any]) -> SqlResult:
    try:
        return _Cursor(operations, link, executed.result())
    except HazelcastError as error:
        if is_connection_problem(error):
            raise TargetDisconnectedError(str(error)) from error
        raise


class _Cursor(SqlResult):
    """A result whose rows are fetched from one link only."""

    def __init__(self, operations: Operations, link: Link, real: SqlResult) -> None:
        self._operations = operations
        self._link = link
        self._real = real

    def iterator(self) -> Iterator[Future[SqlRow]]:
        return self._futures(self._real.iterator())

    def is_row_set(self) -> bool:
        return self._real.is_row_set()

    def update_count(self) -> int:
        return self._real.update_count()

    def get_row_metadata(self) -> SqlRowMetadata:
        return self._real.get_row_metadata()

    def close(self) -> Future[None]:
        return self._real.close()

    def __iter__(self) -> Iterator[SqlRow]:
        return self._rows(self._real.iterator())

    def __enter__(self) -> SqlResult:
        return self

    def __exit__(self, *error: object) -> None:
        # A cursor of a cluster that is gone is closed there already.
        if self._operations.route.link is self._link:
            self._waited(self.close())

    def _futures(self, futures: Iterator[Future[SqlRow]]) -> Iterator[Future[SqlRow]]:
        for future in futures:
            self._check()
            yield future.continue_with(self._told)

    def _rows(self, futures: Iterator[Future[SqlRow]]) -> Iterator[SqlRow]:
        for future in futures:
            self._check()
            try:
                row = self._waited(future)
            except StopIteration:
                return
            yield row

    def _waited(self, future: Future[Any]) -> Any:
        number = call_numbers()
        self._link.calls[number] = Call(future, time.monotonic(), self._operations.limit)
        try:
            return self._told(future)
        finally:
            del self._link.calls[number]

    def _told(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except (LinkEnded, TargetDisconnectedError, Overdue) as error:
            raise self._changed(error) from None
        except HazelcastError as error:
            if is_connection_problem(error):
                raise self._changed(error) from error
            raise

    def _check(self) -> None:
        if self._operations.route.link is not self._link:
            raise self._changed(None)

    def _changed(self, error: Exception | None) -> ClusterChanged:
        why = f" ({error})" if error is not None else ""
        return ClusterChanged(
            f"the SQL cursor belongs to {self._link.label}, which the client has left or lost{why}:"
            " execute the query again"
        )
