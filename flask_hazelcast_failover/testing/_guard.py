"""Starting members so that none of them outlives this process, whatever ends it."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = Path(__file__).with_name("_guard_process.py")

# Waits for a word before it becomes the command. If this process dies before the guard has heard of the pid, the
# word never comes and the shell ends.
_WAIT_FOR_WORD = 'read -r word && exec "$@"'


class Guard:
    """The guard process of this process: started when there is something to guard, ended when there is nothing left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._guarded: set[str] = set()  # guarded by _lock, like all below
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], directory: Path, log: Path) -> subprocess.Popen[bytes]:
        """Run `command` in `directory`, in a session of its own, with its output in the file `log`."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _WAIT_FOR_WORD, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env=_environment(),
                start_new_session=True,  # Ctrl-C in a terminal is for us, not for the members
            )
        assert process.stdin is not None
        self.watch(process.pid)
        with process.stdin as stdin:
            stdin.write(b"go\n")
        return process

    def watch(self, what: int | Path) -> None:
        """Kill this process, or delete this directory, when we are gone."""
        with self._lock:
            self._guarded.add(line := _line(what, "+>"))
            self._tell(line)

    def forget(self, what: int | Path) -> None:
        """Take back `watch`: the process has ended, or the directory is deleted."""
        with self._lock:
            self._guarded.discard(_line(what, "+>"))
            if self._process is not None:
                self._tell(_line(what, "-<"))
            if not self._guarded:
                self._dismiss()

    def forsake(self) -> None:
        """In a forked child: the members belong to the parent, and so does its guard."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.returncode = 0  # not our child: nothing to wait for, and no warning
        self._lock = threading.Lock()
        self._guarded = set()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.poll() is None:
            self._send(self._process, [line])
            return
        self._dismiss()
        script = [sys.executable, "-I", "-S", str(_SCRIPT), str(os.getpid())]
        self._process = subprocess.Popen(
            script, stdin=subprocess.PIPE, bufsize=0, cwd="/", start_new_session=True
        )
        self._send(self._process, sorted(self._guarded))

    def _send(self, process: subprocess.Popen[bytes], lines: Sequence[str]) -> None:
        assert process.stdin is not None
        process.stdin.write(b"".join(os.fsencode(line) + b"\n" for line in lines))

    def _dismiss(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _line(what: int | Path, signs: str) -> str:
    return f"{signs[0]}{what}" if isinstance(what, int) else f"{signs[1]}{what}"


def _environment() -> dict[str, str]:
    """Ours, without the variables that a member would take for its own configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HZ_", "HAZELCAST_"))}


guard = Guard()
os.register_at_fork(after_in_child=guard.forsake)
