"""Starting members so that none outlives this process, whatever ends it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ._errors import UnsupportedPlatformError

_SCRIPT = Path(__file__).with_name("_guard_process.py")

# Becomes the command once it has read a line. If this process dies before the guard knows the pid, the input ends and
# so does the shell.
_WAIT_FOR_LINE = 'read -r line && exec "$@"'


# Windows has none of them.
_NEEDED = {os: ("fork", "register_at_fork"), signal: ("SIGCONT", "SIGKILL", "SIGSTOP")}


def check_platform() -> None:
    """Raise UnsupportedPlatformError where members cannot be started, frozen and ended, and never outlive this process."""
    lacks = [
        f"{module.__name__}.{name}"
        for module, names in _NEEDED.items()
        for name in names
        if not hasattr(module, name)
    ]
    if lacks:
        raise UnsupportedPlatformError(
            f"Local clusters cannot be started on {sys.platform}: this Python has no {', '.join(lacks)}. "
            "Run the tests that use them on Linux or macOS; on Windows, in WSL or a container."
        )


class Guard:
    """Runs the guard process of this process, as long as there is something to guard."""

    def __init__(self) -> None:
        self._locks: dict[object, threading.Lock] = {}
        self._guarded: set[str] = set()  # guarded by _lock, like all below
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
        """Run `command` in `directory`, in a session of its own, with its output in the file `log`."""
        check_platform()
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT_FOR_LINE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal does not reach the members
            )
        assert process.stdin is not None
        self.watch(process.pid)
        with process.stdin as stdin:
            stdin.write(b"go\n")
        return process

    def watch(self, target: int | Path) -> None:
        """Have a process killed, or a directory deleted, when this process has ended."""
        with self._lock:
            self._guarded.add(line := _line(target, "+>"))
            self._notify(line)

    def forget(self, target: int | Path) -> None:
        """Undo `watch`: the process has ended, or the directory is deleted."""
        with self._lock:
            self._guarded.discard(_line(target, "+>"))
            if self._process is not None:
                self._notify(_line(target, "-<"))
            if not self._guarded:
                self._stop()

    def reset_after_fork(self) -> None:
        """Drop, in a forked child, the members and the guard process: they belong to the parent."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.returncode = 0  # not a child of this process: avoids a warning
        self._locks = {}
        self._guarded = set()

    @property
    def _lock(self) -> threading.Lock:
        # Made when it is first taken, and anew once gevent, whose patch replaces `threading.local`, has patched the
        # threads: one that was made at the import would block all greenlets. The step of the dict is atomic.
        return self._locks.setdefault(threading.local, threading.Lock())

    def _notify(self, line: str) -> None:
        if self._process is not None and self._process.poll() is None:
            self._send(self._process, [line])
            return
        self._stop()
        script = [sys.executable, "-I", "-S", str(_SCRIPT), str(os.getpid())]
        self._process = subprocess.Popen(
            script, stdin=subprocess.PIPE, bufsize=0, cwd="/", start_new_session=True
        )
        self._send(self._process, sorted(self._guarded))

    def _send(self, process: subprocess.Popen[bytes], lines: Sequence[str]) -> None:
        assert process.stdin is not None
        process.stdin.write(b"".join(os.fsencode(line) + b"\n" for line in lines))

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _line(target: int | Path, signs: str) -> str:
    return f"{signs[0] if isinstance(target, int) else signs[1]}{target}"


def _environment() -> dict[str, str]:
    """The environment without the variables that a member takes for its configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HZ_", "HAZELCAST_"))}


guard = Guard()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=guard.reset_after_fork)
