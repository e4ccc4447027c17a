"""Whatever lies in the fleet's map, and whatever is posted, page, command line, fleet and log stay whole."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_hazelcast_failover.testing import LocalCluster
from tests.fleet.test_foreign_records import fleet_map
from tests.fleet.test_records import DESIRED, QUESTION, RECORD, json_values
from tests.support.admin import BEARER
from tests.support.fleet import Process, Start, together
from tests.support.waiting import eventually

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
LONGEST_LINE = 8192

# Texts that have broken something: escapes, halves of pairs, ends of lines, sizes, nesting.
texts = st.sampled_from([ESCAPE, "\ud800", "a\nb\r\nc", "\u202e", "x" * 70_000, "", "\0", "<script>", "%s"])
depths = st.integers(1, 50_000).map(lambda depth: "[" * depth)
keys = st.sampled_from(
    [
        "desired",
        "arrived",
        "bell",
        "worker/x",
        "question/x",
        f"worker/{ESCAPE}",
        "worker/a\nb",
        "question/" + "x" * 9999,
    ]
)


@st.composite
def stored(draw: st.DrawFn) -> Any:
    """Draw a record with a field that is not what it should be, or no record at all."""
    fields = list(draw(st.sampled_from([RECORD, DESIRED, QUESTION])))
    fields[draw(st.integers(0, len(fields) - 1))] = draw(json_values | texts)
    return draw(
        st.just(json.dumps(fields))
        | depths
        | st.text()
        | st.binary(max_size=99).map(bytearray)
        | st.integers(-(2**31), 2**31 - 1)
    )


bodies = (
    (
        st.fixed_dictionaries(
            {},
            optional={
                "cluster": json_values | texts,
                "workers": json_values | st.lists(texts),
                "force": json_values,
            },
        )
        | st.dictionaries(texts, texts, max_size=3)
        | json_values
    ).map(json.dumps)
    | depths
    | st.text()
    | st.just("[" + "0," * 40_000 + "0]")
)


class Log(logging.Handler):
    """Keeps every line as a handler would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def assert_whole(self) -> None:
        for line in self.lines:
            line.encode()
            assert line.isprintable() and len(line) < LONGEST_LINE, line[:300]


@pytest.fixture
def log() -> Iterator[Log]:
    logger, log = logging.getLogger("flask_hazelcast_failover"), Log()
    logger.addHandler(log)
    yield log
    logger.removeHandler(log)


def assert_whole(process: Process) -> None:
    """The page, the status and the command line answer, and none of them carries an escape on."""
    for path in ("", "status"):
        answer = process.visitor.get(f"/hazelcast/{path}", headers=BEARER)
        assert answer.status_code == 200 and "\x1b" not in answer.text
    shown = process.flask_app.test_cli_runner().invoke(args=["hazelcast", "status"])
    assert shown.exit_code == 0 and "\x1b" not in shown.output


def test_whatever_is_stored_leaves_the_fleet_whole(
    blue: LocalCluster, green: LocalCluster, start: Start, log: Log
) -> None:
    one, other = (start(blue, green, FLEET="fuzzed") for _ in range(2))
    together(one, other)
    with fleet_map(blue, "fuzzed") as entries:

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(keys, stored())
        def plant(key: str, value: Any) -> None:
            entries.set(key, value, ttl=3)

        plant()
        assert_whole(one)
        eventually(lambda: {one.id, other.id} <= set(one.seen) and {one.id, other.id} <= set(other.seen))
        for key in entries.key_set():
            if key not in (f"worker/{one.id}", f"worker/{other.id}"):
                entries.delete(key)
        assert one.post("switch", cluster="green", force=True).get_json()["missing"] == []
        eventually(lambda: one.place[0] == other.place[0] == "green")
        assert_whole(other)
    assert not [line for line in log.lines if "unexpected failure" in line]
    log.assert_whole()
    assert "hazelcast-failover-fleet" in {thread.name for thread in threading.enumerate()}


def test_whatever_is_posted_is_answered(
    blue: LocalCluster, green: LocalCluster, start: Start, log: Log
) -> None:
    process = start(blue, green, FLEET="posted")

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["reset", "switch"]), bodies)
    def post(path: str, body: str) -> None:
        sent = body.encode("utf-8", "surrogatepass")
        headers = {**BEARER, "Content-Type": "application/json"}
        answer = process.visitor.post(f"/hazelcast/{path}", data=sent, headers=headers)
        assert answer.status_code in (200, 400, 409, 413)
        assert len(answer.data) < LONGEST_LINE
        answer.get_json()

    post()
    assert_whole(process)
    log.assert_whole()
