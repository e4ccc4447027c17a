"""SQL runs on the active cluster; a cursor stays with the cluster that it was opened on."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hazelcast.errors import HazelcastClientNotActiveError
from hazelcast.future import Future
from hazelcast.sql import HazelcastSqlError, SqlResult, SqlService

from flask_hazelcast_failover import ClusterChanged, OperationOutcomeUnknown
from flask_hazelcast_failover.testing import LocalCluster, start_together
from tests.support.moving import Outcome, client_at, client_on
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
                    " OPTIONS ('keyFormat'='int', 'valueFormat'='varchar')"
                ).result()
        yield first, second


def query(client: Any, buffer: int = 4096) -> SqlResult:
    result: SqlResult = client.sql.execute(
        "SELECT __key, this FROM people", cursor_buffer_size=buffer
    ).result()
    return result


def waits_for_answer(client: Any) -> bool:
    return client._route.link is not None and not client._route.link.is_idle


def test_a_query_gives_its_rows_in_every_official_way(jets: tuple[LocalCluster, LocalCluster]) -> None:
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
def test_a_cursor_does_not_follow_a_switch(buffer: int, jets: tuple[LocalCluster, LocalCluster]) -> None:
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


def test_a_left_cursor_can_be_closed(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        with query(client, 4) as result:
            next(iter(result))
            client.switch_to("green")
        result.close().result()


def test_a_cursor_of_a_client_that_was_shut_down_says_so(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with client_on(*jets) as client:
        rows = iter(query(client, 4))
        next(rows)
    with pytest.raises(HazelcastClientNotActiveError, match="shut down"):
        next(rows)


@pytest.mark.parametrize("statement", ["SELECT * FROM people", "  (select 1)", "SHOW MAPPINGS", "VALUES (1)"])
def test_a_query_lost_before_its_first_row_is_repeated(
    statement: str, jets: tuple[LocalCluster, LocalCluster]
) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            relay.freeze()
            executing = Outcome(lambda: list(client.sql.execute(statement).result()))
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert executing.wait(10).error is None
            assert client.status().current_cluster == "green"


def test_a_statement_that_writes_is_not_repeated(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            relay.freeze()
            executing = Outcome(lambda: client.sql.execute("INSERT INTO people VALUES (2000, 'x')").result())
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert isinstance(executing.wait(10).error, OperationOutcomeUnknown)
            assert client.get_map("people").blocking().get(2000) is None


def test_a_fetch_that_is_lost_ends_the_cursor(jets: tuple[LocalCluster, LocalCluster]) -> None:
    with Relay(jets[0].addresses[0]) as relay:
        addresses = [("blue", relay.address), ("green", jets[1].addresses[0])]
        with client_at(*addresses, health_check_interval=0) as client:
            result = client.sql.execute(
                "SELECT * FROM TABLE(generate_stream(1))", cursor_buffer_size=1
            ).result()
            rows = iter(result)
            fetching = Outcome(lambda: [next(rows) for _ in range(1000)])
            eventually(lambda: waits_for_answer(client))
            relay.refuse()
            assert isinstance(fetching.wait(5).error, ClusterChanged)
            result.close().result()


def test_a_lost_fetch_calls_back_once_and_holds_up_no_switch(jets: tuple[LocalCluster, LocalCluster]) -> None:
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
