"""Programs of a few lines, run as processes of their own, for tests of forks and exits."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.fair_time import fair_time

ROOT = Path(__file__).parent.parent.parent

# Each program begins with a client of the given clusters that is not connected yet.
_BEGINNING = """
import json, os, sys, threading, time
import tests.support.script_client as script
client = script.make_client(json.loads(sys.argv[1]), json.loads(sys.argv[2]))
"""


class Script:
    """A running program whose output can be read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.seen: list[str] = []  # of the thread that reads
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def expect(self, line: str, within: float = 20.0) -> None:
        """Wait until the program has printed this line."""
        deadline = time.monotonic() + within
        while (got := self._next(deadline, f"line {line!r}")) is not None:
            if got == line:
                return
        raise AssertionError(f"ended without the line {line!r}; its output:\n{self.said}")

    def find(self, beginning: str, within: float = 20.0) -> str:
        """Wait until the program has printed a line that begins like this, and return it."""
        deadline = time.monotonic() + within
        while (got := self._next(deadline, f"line {beginning!r}...")) is not None:
            if got.startswith(beginning):
                return got
        raise AssertionError(f"ended without a line {beginning!r}...; its output:\n{self.said}")

    def say(self, line: str = "") -> None:
        """Write a line to the program's standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ends(self, within: float) -> float:
        """Wait for the end, with status 0, and return how many fair seconds that took."""
        began = fair_time()
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # faulthandler prints where it hangs
            self.process.wait(5)
            self._drain()
            raise AssertionError(f"not ended within {within:g} s; its output:\n{self.said}") from None
        took = fair_time() - began
        self._drain()
        assert status == 0, f"ended with status {status}; its output:\n{self.said}"
        return took

    @property
    def said(self) -> str:
        """The output that was read so far."""
        return "\n".join(self.seen)

    def _next(self, deadline: float, what: str) -> str | None:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"not in time: {what}; its output:\n{self.said}") from None
        if line is not None:
            self.seen.append(line)
        return line

    def _drain(self) -> None:
        self._reader.join(5)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.seen.append(line)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


@contextmanager
def running(
    text: str, clusters: dict[str, list[str]], before: str = "", **options: object
) -> Iterator[Script]:
    """Run a program that has a `client` of these clusters (name -> addresses) with these options.

    before: lines that run first, such as monkey patching.
    """
    program = textwrap.dedent(before) + _BEGINNING + textwrap.dedent(text)
    command = [sys.executable, "-X", "faulthandler", "-u", "-c", program]
    process = subprocess.Popen(
        [*command, json.dumps(clusters), json.dumps(options)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Script(process)
    finally:
        _end_session(process)


def run(text: str, clusters: dict[str, list[str]], within: float = 20.0, **options: object) -> str:
    """Run a program to its end, with status 0, and return its output."""
    with running(text, clusters, **options) as script:  # type: ignore[arg-type]
        script.ends(within)
        return script.said


def _end_session(process: subprocess.Popen[str]) -> None:
    """Kill the program and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
