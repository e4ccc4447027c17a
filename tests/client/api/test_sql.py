"""SQL runs on the active cluster; a cursor stays with the cluster that it was opened on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError, OperationTimeoutError
from hazelcast.future import Future
from hazelcast.sql import HazelcastSqlError, SqlResult, SqlService

from flask_hazelcast_failover import ClusterChanged, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster, start_together
from tests.support.calls import BackgroundCall
from tests.support.clients import client_at, client_on
from tests.support.relay import Relay
from tests.support.waiting import eventually

ROWS = 40


@pytest.fixture(scope="module")
def jets() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    first, second = (LocalCluster(name, jet=True, heap=192) for name in ("blue", "green"))
    start_together(first, second)
    with first, second:
        for cluster in (first, second):
            with client_on(cluster) as client:
                client.get_map("people").blocking().put_all({n: f"{cluster.name} {n}" for n in range(ROWS)})
                client.sql.execute(
                    "CREATE MAPPING people (__key INT, this VARCHAR) TYPE IMap"
                    " OPTIONS ('keyFormat'='int', 'valueFormat'='varchar')",
                    timeout=0,  # the first ones take long where the machine has other things to do
                ).result()
                list(client.sql.execute("SELECT * FROM people", timeout=60).result())
        yield first, second


def query(client: Any, buffer: int = 4096) -> SqlResult:
    result: SqlResult = client.sql.execute(
        "SELECT __key, this FROM people", cursor_buffer_size=buffer
    ).result()
    return result


def waits_for_answer(client: Any) -> bool:
    return client._runtime.route.link is not None and not client._runtime.route.link.is_idle


def test_rows_in_every_official_way(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(jets[0]) as client:
        assert isinstance(client.sql, SqlService)
        with query(client, 7) as result:
            assert isinstance(result, SqlResult) and result.is_row_set() and result.update_count() == -1
            assert [column.name for column in result.get_row_metadata().columns] == ["__key", "this"]
            assert sorted(row["__key"] for row in result) == list(range(ROWS))
        keys = []
        for row in (found := query(client, 7).iterator()):
            try:
                keys.append(row.result().get_object("__key"))
            except StopIteration:
                break
        assert sorted(keys) == list(range(ROWS))
        with pytest.raises(StopIteration):
            next(found).result()
        with query(client) as result:
            result.iterator()
            with pytest.raises(ValueError, match="only once"):
                result.iterator()
        assert client.sql.execute("SELECT this FROM people WHERE __key = ?", 3).result().is_row_set()


def test_errors_are_the_official_ones(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(jets[0]) as client:
        with pytest.raises(HazelcastSqlError):
            client.sql.execute("SELECT nonsense FROM nowhere").result()
        with pytest.raises(ValueError, match="empty"):
            client.sql.execute("").result()
        with pytest.raises(TypeError):
            client.sql.execute("SELECT 1", misspelt=1).result()


def test_statements_follow_the_client(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        assert next(iter(query(client)))["this"].startswith("blue")
        client.switch_to("green")
        assert next(iter(query(client)))["this"].startswith("green")
        assert client.sql.execute("INSERT INTO people VALUES (1000, 'x')").result().update_count() == 0
        assert client.get_map("people").blocking().remove(1000) == "x"


@pytest.mark.parametrize("buffer", [4, 4096], ids=["rows still there", "rows here already"])
def test_cursor_does_not_follow_a_switch(buffer: int, jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        rows = iter(query(client, buffer))
        futures = query(client, buffer).iterator()
        next(rows)
        next(futures).result()
        client.switch_to("green")
        for _ in range(2):  # and does not seem to be through
            with pytest.raises(ClusterChanged, match="blue"):
                next(rows)
            with pytest.raises(ClusterChanged, match="blue"):
                next(futures)
        with query(client) as unaffected:
            assert len(list(unaffected)) == ROWS


def test_left_cursor_can_be_closed(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        with query(client, 4) as result:
            next(iter(result))
            client.switch_to("green")
        result.close().result()


def test_cursor_after_shutdown(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        rows = iter(query(client, 4))
        next(rows)
    with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
        next(rows)


@pytest.mark.parametrize("statement", ["SELECT * FROM people", "  (select 1)", "SHOW MAPPINGS", "VALUES (1)"])
def test_query_lost_before_its_first_row_is_repeated(
    statement: str, jets: tuple[LocalCluster, LocalCluster]
) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            relay.freeze()
            executing = BackgroundCall(lambda: list(client.sql.execute(statement).result()))
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert executing.wait(10).error is None
            assert client.status().current_cluster == "green"


def test_statement_that_writes_is_not_repeated(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            relay.freeze()
            executing = BackgroundCall(
                lambda: client.sql.execute("INSERT INTO people VALUES (2000, 'x')").result()
            )
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert isinstance(executing.wait(10).error, OperationOutcomeUnknown)
            assert client.get_map("people").blocking().get(2000) is None


def test_lost_fetch_ends_the_cursor(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            result = client.sql.execute(
                "SELECT * FROM TABLE(generate_stream(1))", cursor_buffer_size=1
            ).result()
            rows = iter(result)
            fetching = BackgroundCall(lambda: [next(rows) for _ in range(1000)])
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert isinstance(fetching.wait(5).error, ClusterChanged)
            result.close().result()


def test_lost_fetch_calls_back_once(jets: tuple[LocalCluster, LocalCluster]) -> None:
    """Its callback does not delay the switch."""
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            executing = client.sql.execute("SELECT * FROM TABLE(generate_stream(1))", cursor_buffer_size=1)
            rows = executing.result().iterator()
            next(rows).result()
            relay.freeze()
            errors: list[Exception | None] = []
            let_go = threading.Event()

            def called_back(row: Future[Any]) -> None:
                errors.append(row.exception())
                let_go.wait(10)

            while (row := next(rows)).done():
                pass
            row.add_done_callback(called_back)
            relay.refuse()
            eventually(lambda: errors)
            eventually(lambda: client.status().current_cluster == "green")
            let_go.set()
            eventually(lambda: client.get_map("sql").blocking().get("k") is None)
            assert len(errors) == 1 and isinstance(errors[0], ClusterChanged)


# A row in two seconds, so that none comes within operation_timeout.
SLOW = "SELECT v FROM TABLE(generate_stream(1)) WHERE MOD(v, 2) = 1"
SHORT = 1.0

Way = Callable[[SqlResult], Callable[[], object]]


def slow(client: Any, timeout: float = -1) -> SqlResult:
    result: SqlResult = client.sql.execute(SLOW, cursor_buffer_size=1, timeout=timeout).result()
    return result


def iterated(result: SqlResult) -> Callable[[], object]:
    rows = iter(result)
    return lambda: next(rows)


def by_futures(result: SqlResult) -> Callable[[], object]:
    rows = result.iterator()
    return lambda: next(rows).result()


BOTH_WAYS = pytest.mark.parametrize("way", [iterated, by_futures])


@pytest.fixture(scope="module")
def hurried(jets: tuple[LocalCluster, LocalCluster]) -> Iterator[Any]:
    """A client on the first cluster that waits for an answer for a short time only."""
    with client_on(jets[0], operation_timeout=SHORT, health_check_interval=0) as client:
        eventually(lambda: has_begun(slow(client, 60)), 30.0)  # the first one takes longer
        yield client


def has_begun(result: SqlResult) -> bool:
    result.close().result()
    return True


@contextmanager
def silent(cluster: LocalCluster) -> Iterator[None]:
    """Have the cluster stay silent meanwhile."""
    cluster.freeze()
    try:
        yield
    finally:
        cluster.thaw()


@BOTH_WAYS
@pytest.mark.parametrize("timeout", [0, 60.0])
def test_statement_timeout_is_added_to_each_fetch(timeout: float, way: Way, hurried: Any) -> None:
    with slow(hurried, timeout) as result:
        fetch = way(result)
        began = time.monotonic()
        for _ in range(2):
            fetch()
        assert time.monotonic() - began > 2 * SHORT


@pytest.mark.parametrize("timeout", [0, 60.0])
def test_statement_timeout_is_added_to_the_execution(
    timeout: float, hurried: Any, jets: tuple[LocalCluster, LocalCluster]
) -> None:
    with silent(jets[0]):
        executing = BackgroundCall(
            lambda: hurried.sql.execute("SELECT * FROM people", timeout=timeout).result()
        )
        assert not executing.ends_within(2 * SHORT)
    assert len(list(executing.wait().result)) == ROWS


@pytest.mark.parametrize("options", [{}, {"timeout": -1}], ids=["none", "the member's"])
def test_execution_without_statement_timeout(
    options: dict[str, float], hurried: Any, jets: tuple[LocalCluster, LocalCluster]
) -> None:
    with silent(jets[0]), pytest.raises(OperationTimeoutError, match="no answer for 1 s"):
        hurried.sql.execute("SELECT * FROM people", **options).result()


@BOTH_WAYS
def test_fetch_without_statement_timeout(way: Way, hurried: Any) -> None:
    with slow(hurried) as result:
        fetch = way(result)
        with pytest.raises(OperationTimeoutError, match="no answer for 1 s"):
            fetch()


@BOTH_WAYS
def test_both_timeouts_end_a_fetch(way: Way, hurried: Any, jets: tuple[LocalCluster, LocalCluster]) -> None:
    fetch = way(slow(hurried, 1.5))
    with silent(jets[0]):
        outcomes = [BackgroundCall(fetch), BackgroundCall(lambda: slow(hurried, 1.5))]
        for outcome in outcomes:
            assert isinstance(outcome.wait().error, OperationTimeoutError)
            assert "no answer for 2.5 s" in str(outcome.error)


@pytest.mark.parametrize("timeout", [-1, 0, 60])
def test_closing_has_no_statement_timeout(
    timeout: float, hurried: Any, jets: tuple[LocalCluster, LocalCluster]
) -> None:
    first, second = slow(hurried, timeout), slow(hurried, timeout)
    with silent(jets[0]):
        with pytest.raises(OperationTimeoutError, match="no answer for 1 s"):
            first.close().result()
        with pytest.raises(OperationTimeoutError, match="no answer for 1 s"), second:
            pass


@BOTH_WAYS
def test_loss_ends_a_statement_without_timeout(way: Way, jets: tuple[LocalCluster, LocalCluster]) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, operation_timeout=0.2, health_check_interval=0) as client:
            fetch = way(slow(client, 0))
            relay.freeze()
            fetching = BackgroundCall(fetch)
            executing = BackgroundCall(lambda: slow(client, 0))
            assert not fetching.ends_within(SHORT) and not executing.is_over
            relay.refuse()
            assert isinstance(fetching.wait(5).error, ClusterChanged)
            assert executing.wait(30).error is None
            assert client.status().current_cluster == "green"


@BOTH_WAYS
def test_shutdown_ends_a_statement_without_timeout(way: Way, jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(jets[0], operation_timeout=0.2, drain_timeout=0.5) as client:
        fetch = way(slow(client, 0))
        fetching = BackgroundCall(lambda: [fetch() for _ in range(1000)])
        assert not fetching.ends_within(SHORT)
        client.shutdown()
        assert isinstance(fetching.wait(5).error, HazelcastClientNotActiveError)
