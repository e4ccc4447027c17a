"""Members never outlive the process that started them, whatever ends that."""

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
def owner(scenario: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a scenario of `tests/support/cluster_owner.py` and end it."""
    command = [sys.executable, "-m", "tests.support.cluster_owner", scenario, *arguments]
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


def read_report(process: subprocess.Popen[str]) -> dict[str, Any]:
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
    """Whether a process has not ended. A zombie has: not every container has an init that collects them."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("scenario", ["waits", "frozen", "guard_lost"])
def test_members_end_when_their_owner_is_killed(scenario: str) -> None:
    with owner(scenario) as process:
        report = read_report(process)
        assert all(map(runs, report["pids"]))
        process.kill()
        process.wait(10.0)
        assert_all_end(report)


def test_members_end_though_a_forked_child_of_the_owner_lives_on() -> None:
    with owner("forked") as process:
        report = read_report(process)
        try:
            process.kill()
            process.wait(10.0)
            assert_all_end(report)
            assert runs(report["child"])
        finally:
            os.kill(report["child"], signal.SIGKILL)


@pytest.mark.parametrize("members", [0, 1, 2])
def test_members_end_when_their_owner_is_killed_while_starting_them(
    members: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with owner("starting") as process:
        try:
            guard_and_members = 1 + members
            eventually(
                lambda: len(processes_of(process, tmp_path)) >= guard_and_members,
                10.0,
                "processes were started",
            )
            process.kill()
            process.wait(10.0)
            eventually(lambda: not processes_of(process, tmp_path), 5.0, "all processes ended")
            eventually(lambda: not list(tmp_path.iterdir()), 5.0, "all files were deleted")
        finally:
            for child in processes_of(process, tmp_path):
                child.kill()


def test_the_guard_ends_members_of_an_owner_that_died_before_it_ran() -> None:
    """Its input stays open, as it does when a forked child of the owner has a copy of the other end."""
    victim = subprocess.Popen(["sleep", "60"])
    command = [
        sys.executable,
        "-I",
        "-S",
        _guard_process.__file__,
        str(victim.pid),
    ]  # not the parent of the guard
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


def processes_of(owner: subprocess.Popen[str], directory: Path) -> list[psutil.Process]:
    """Return the other processes that use this directory for temporary files."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != owner.pid and process.environ().get("TMPDIR") == str(directory):
                found.append(process)
    return found


@pytest.mark.parametrize(
    ("scenario", "status"), [("returns", 0), ("fails", 3), ("terminated", -signal.SIGTERM)]
)
def test_members_end_with_an_owner_that_does_not_stop_them(scenario: str, status: int) -> None:
    with owner(scenario) as process:
        report = read_report(process)
        assert process.wait(10.0) == status
        assert_all_end(report)


def test_the_end_of_a_forked_child_does_not_end_members() -> None:
    with owner("child_returns") as process:
        report = read_report(process)
        assert report["alive"] == 1
        assert process.wait(10.0) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert_all_end(report)


def test_a_forked_child_can_kill_a_member_but_not_start_one(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    with owner("child_kills", str(answer)) as process:
        report = read_report(process)
        assert report["alive"] == 0
        assert process.wait(10.0) == 0
    alive, _, error = answer.read_text(encoding="utf-8").partition(" ")
    assert alive == "False"
    assert "belongs to process" in error
