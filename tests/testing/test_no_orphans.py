"""Members never outlive the process that started them, whatever ends it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flask_hazelcast_failover.testing import _guard_process
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def parent(way: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `tests/support/parent.py`, and end it and what it left behind."""
    command = [sys.executable, "-m", "tests.support.parent", way, *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10.0)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def reported(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    assert line, process.stderr.read()
    report: dict[str, Any] = json.loads(line)
    return report


def assert_all_end(report: dict[str, Any]) -> None:
    try:
        eventually(lambda: not any(map(runs, report["pids"])), 5.0, "all members ended")
        eventually(lambda: not Path(report["directory"]).exists(), 5.0, "the members' directory is deleted")
    finally:
        for pid in report["pids"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def runs(pid: int) -> bool:
    """Whether a process does, dead ones aside that nobody has collected yet: not every container's init does."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("way", ["runs", "frozen", "guard_lost"])
def test_members_end_when_their_parent_is_killed(way: str) -> None:
    with parent(way) as process:
        report = reported(process)
        assert all(map(runs, report["pids"]))
        process.kill()
        process.wait(10.0)
        assert_all_end(report)


def test_members_end_when_their_parent_is_killed_though_a_forked_child_lives_on() -> None:
    with parent("forked") as process:
        report = reported(process)
        try:
            process.kill()
            process.wait(10.0)
            assert_all_end(report)
            assert runs(report["child"])
        finally:
            os.kill(report["child"], signal.SIGKILL)


@pytest.mark.parametrize("members", [0, 1, 2])
def test_members_end_when_their_parent_is_killed_while_it_starts_them(
    members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with parent("starting") as process:
        try:
            guard_and_members = 1 + members
            eventually(lambda: len(children(process, tmp_path)) >= guard_and_members, 10.0, "it starts them")
            process.kill()
            process.wait(10.0)
            eventually(lambda: not children(process, tmp_path), 5.0, "no process is left")
            eventually(lambda: not list(tmp_path.iterdir()), 5.0, "no file is left")
        finally:
            for child in children(process, tmp_path):
                child.kill()


def test_the_guard_acts_on_all_it_was_told_by_a_parent_that_died_before_it_was_up() -> None:
    """Its input stays open, as it does when a child that the parent forked has a copy of the other end."""
    victim = subprocess.Popen(["sleep", "60"])
    command = [sys.executable, "-I", "-S", _guard_process.__file__, str(victim.pid)]  # not its parent
    guard = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert guard.stdin is not None
        guard.stdin.write(f"+{victim.pid}\n".encode())
        guard.stdin.flush()
        assert victim.wait(5.0) == -signal.SIGKILL
        assert guard.wait(5.0) == 0
    finally:
        for process in (victim, guard):
            process.kill()
            process.wait(5.0)
        assert guard.stdin is not None
        guard.stdin.close()


def children(parent: subprocess.Popen[str], directory: Path) -> list[psutil.Process]:
    """Return the processes that use this directory for temporary files, their parent aside."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != parent.pid and process.environ().get("TMPDIR") == str(directory):
                found.append(process)
    return found


@pytest.mark.parametrize(("way", "status"), [("returns", 0), ("fails", 3), ("terminated", -signal.SIGTERM)])
def test_members_end_with_a_parent_that_does_not_stop_them(way: str, status: int) -> None:
    with parent(way) as process:
        report = reported(process)
        assert process.wait(10.0) == status
        assert_all_end(report)


def test_the_end_of_a_forked_child_leaves_the_cluster_alone() -> None:
    with parent("child_returns") as process:
        report = reported(process)
        assert report["alive"] == 1
        assert process.wait(10.0) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert_all_end(report)


def test_a_forked_child_can_kill_a_member_and_is_told_that_it_cannot_start_one(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    with parent("child_kills", str(answer)) as process:
        report = reported(process)
        assert report["alive"] == 0
        assert process.wait(10.0) == 0
    alive, _, error = answer.read_text(encoding="utf-8").partition(" ")
    assert alive == "False"
    assert "belongs to process" in error
