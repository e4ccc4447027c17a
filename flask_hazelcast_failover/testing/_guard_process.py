"""The guard: a process that ends the members of its parent once the parent is gone.

Runs as a script, with nothing but the standard library. It reads lines: `+PID` and `-PID` (a member to guard, or no
longer), `>PATH` and `<PATH` (a directory to delete at the end, or no longer). The end of the input, or another
parent, means that the parent is gone: a copy of the pipe may live on in a process that the parent forked.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

SECONDS_BETWEEN_LOOKS = 0.2


def main(parent: int) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guarded: set[str] = set()
    rest = b""
    while True:
        if select.select([0], [], [], SECONDS_BETWEEN_LOOKS)[0]:
            received = os.read(0, 65536)
            if not received:
                break
            *lines, rest = (rest + received).split(b"\n")
            take(lines, guarded)
        elif os.getppid() != parent:  # only once all is read: it may have died before we were up
            break
    end(guarded)


def take(lines: list[bytes], guarded: set[str]) -> None:
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
