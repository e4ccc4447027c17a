"""One member: a Java process that can be killed, frozen and thawed."""

import contextlib
import enum
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from ._configuration import LOOPBACK, MemberOptions, member_command, member_config
from ._errors import JoinFailedError, MemberStartError, PortTakenError
from ._guard import guard

_END_TIMEOUT = 10.0  # seconds
_FREEZE_TIMEOUT = 2.0  # seconds
_LINES_IN_ERRORS = 25


class MemberState(enum.Enum):
    """The state of a member's process."""

    RUNNING = "running"
    FROZEN = "frozen"
    ENDED = "ended"


class Member:
    """The process of one member. `LocalCluster` makes them; a restarted member is a new one."""

    def __init__(
        self, options: MemberOptions, index: int, port: int, process: subprocess.Popen[bytes], log: Path
    ):
        self.cluster_name = options.cluster_name
        self.index = index
        self.port = port
        self.address = f"{LOOPBACK}:{port}"
        self.pid = process.pid
        self._process = process
        self._owner = os.getpid()
        self._frozen = False
        self._log = log

    @classmethod
    def launch(
        cls, options: MemberOptions, index: int, port: int, join: str | None, directory: Path, *, lite: bool
    ) -> "Member":
        """Start a member's process and return at once."""
        stem = directory / f"member-{index}-{time.time_ns()}"
        config_file, log = stem.with_suffix(".yaml"), stem.with_suffix(".log")
        config_file.write_text(member_config(options, port, join, lite=lite), encoding="utf-8")
        process = guard.launch(member_command(options, config_file), directory, log)
        return cls(options, index, port, process, log)

    def __repr__(self) -> str:
        return f"<Member {self.cluster_name}[{self.index}] {self.address} pid {self.pid} {self.state.value}>"

    @property
    def state(self) -> MemberState:
        """Whether the process runs, is frozen or has ended."""
        if not self._is_alive():
            return MemberState.ENDED
        return MemberState.FROZEN if self._frozen else MemberState.RUNNING

    @property
    def alive(self) -> bool:
        """Whether the process runs or is frozen."""
        return self._is_alive()

    def kill(self) -> None:
        """End the process with SIGKILL, frozen or not, and wait for the end."""
        self.send_kill()
        self.wait_for_end()

    def send_kill(self) -> None:
        """Send SIGKILL and return at once."""
        self._signal(signal.SIGKILL)

    def wait_for_end(self, within: float = _END_TIMEOUT) -> None:
        """Wait for the end of the process.

        Raises subprocess.TimeoutExpired if it has not ended within `within` seconds, 10 by default.
        """
        if self._owner == os.getpid():
            self._process.wait(within)
            guard.forget(self.pid)
            return
        deadline = time.monotonic() + within
        while self._is_alive():
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(repr(self), within)
            time.sleep(0.002)

    def shut_down(self, within: float = _END_TIMEOUT) -> None:
        """End the process with SIGTERM, in order, and wait for the end.

        Raises subprocess.TimeoutExpired if it has not ended within `within` seconds, 10 by default.
        """
        self._signal(signal.SIGTERM)
        self.wait_for_end(within)

    def freeze(self) -> None:
        """Stop the process with SIGSTOP and wait until it has stopped: connections stay open and get no answer."""
        self._frozen = True
        self._signal(signal.SIGSTOP)
        self._wait_until_stopped()

    def thaw(self) -> None:
        """Continue a frozen process."""
        self._signal(signal.SIGCONT)
        self._frozen = False

    def log(self, lines: int | None = None) -> str:
        """Return the member's log, or its last `lines`; empty after its cluster was stopped."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return text if lines is None else "\n".join(text.splitlines()[-lines:])

    def is_ready(self, size: int) -> bool:
        """Whether the member has started in a cluster of `size` members.

        Raises MemberStartError with the end of the member's log if it has ended.
        """
        ended = not self._is_alive()
        text = self.log()
        if ended:
            raise self._start_error(text)
        seen = re.findall(r"^Members \{size:(\d+)", text, re.MULTILINE)
        started = f"[{LOOPBACK}]:{self.port} is STARTED" in text
        return started and bool(seen) and int(seen[-1]) == size

    def _start_error(self, text: str) -> MemberStartError:
        error_class = MemberStartError
        if re.search(r"already in use|BindException", text):
            error_class = PortTakenError
        elif "Could not join cluster" in text:
            error_class = JoinFailedError
        tail = "\n".join(text.splitlines()[-_LINES_IN_ERRORS:])
        return error_class(
            f"Member {self.index} of cluster {self.cluster_name!r} at {self.address} ended while starting "
            f"(exit code {self._process.returncode}). The end of its log:\n{tail}"
        )

    def _is_alive(self) -> bool:
        if self._owner == os.getpid():
            return self._process.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return not _has_ended(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        if self._owner == os.getpid():
            self._process.send_signal(number)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _wait_until_stopped(self) -> None:
        if self._owner != os.getpid() or not hasattr(os, "waitid"):
            return
        deadline = time.monotonic() + _FREEZE_TIMEOUT
        options = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self.pid, options) is None and time.monotonic() < deadline:
                time.sleep(0.001)


def _has_ended(pid: int) -> bool:
    """Whether a process has ended and its parent has not collected it yet; False where there is no /proc."""
    process = Path("/proc", str(pid))
    try:
        first_thread = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return first_thread == "Z" and len(list((process / "task").iterdir())) <= 1
    except OSError:
        return False
