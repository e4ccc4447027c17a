"""The guard process: ends the members of its parent when the parent has ended.

Runs as a script, with the standard library only. It reads lines: `+PID` (a process to kill at the end), `>PATH` (a
directory to delete at the end), `-PID` and `<PATH` (no longer). The parent has ended when the input ends. It may stay
open, in a process that the parent has forked, so the guard also looks whether it has another parent.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

POLL_INTERVAL = 0.2  # seconds


def main(parent: int) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guarded: set[str] = set()
    rest = b""
    while True:
        if select.select([0], [], [], POLL_INTERVAL)[0]:
            received = os.read(0, 65536)
            if not received:
                break
            *lines, rest = (rest + received).split(b"\n")
            update(guarded, lines)
        elif (
            os.getppid() != parent
        ):  # only after reading all input: it may have ended before this process ran
            break
    end(guarded)


def update(guarded: set[str], lines: list[bytes]) -> None:
    for line in map(os.fsdecode, lines):
        if line[0] in "+>":
            guarded.add(line)
        else:
            guarded.discard({"-": "+", "<": ">"}[line[0]] + line[1:])


def end(guarded: set[str]) -> None:
    for line in guarded:
        if line[0] == "+":
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(line[1:]), signal.SIGKILL)  # ends a stopped process as well
    for line in guarded:
        if line[0] == ">":
            shutil.rmtree(line[1:], ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
