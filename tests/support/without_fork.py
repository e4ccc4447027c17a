"""Takes away what Python lacks where there is no fork, as on Windows, when it is imported.

`python -m tests.support.without_fork` imports every module of the package then, one by one, and prints those that
cannot be imported.
"""

from __future__ import annotations

import asyncio  # noqa: F401  # the standard library's modules decide by `sys.platform` what they import
import importlib
import multiprocessing.connection  # noqa: F401
import os
import select
import signal
import socket
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
import time

NAMES = {
    os: (
        "fork forkpty register_at_fork wait wait3 wait4 waitid killpg getpgid getpgrp getsid setsid setpgid setpgrp getuid"
        " geteuid getgid getegid getgroups setuid setgid uname nice fchmod fchown chown lchown chroot mkfifo mknod pread"
        " pwrite preadv pwritev readv writev sendfile posix_spawn posix_spawnp openpty ttyname tcgetpgrp statvfs fstatvfs"
        " sync fdatasync confstr sysconf ctermid eventfd memfd_create pidfd_open pipe2 lockf getloadavg getresuid"
        " sched_getaffinity sched_setaffinity sched_yield sched_getscheduler get_blocking set_blocking WNOHANG WUNTRACED"
        " WSTOPPED WEXITED WNOWAIT WCONTINUED P_PID P_PIDFD P_ALL WIFEXITED WIFSIGNALED WIFSTOPPED WEXITSTATUS WTERMSIG"
        " O_CLOEXEC O_NONBLOCK O_NOFOLLOW O_DIRECTORY"
    ),
    signal: (
        "SIGKILL SIGSTOP SIGCONT SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGCLD SIGPIPE SIGQUIT SIGTSTP SIGTTIN SIGTTOU"
        " SIGWINCH SIGIO SIGURG SIGPROF SIGVTALRM SIGTRAP SIGBUS SIGSYS SIGXCPU SIGXFSZ alarm setitimer getitimer pause"
        " ITIMER_REAL ITIMER_VIRTUAL ITIMER_PROF pthread_kill pthread_sigmask sigwait sigwaitinfo sigtimedwait sigpending"
        " siginterrupt SIG_BLOCK SIG_UNBLOCK SIG_SETMASK pidfd_send_signal"
    ),
    select: " ".join(
        name for name in vars(select) if name.lower().startswith(("poll", "epoll", "kqueue", "kevent"))
    ),
    socket: "AF_UNIX SO_REUSEPORT MSG_DONTWAIT SO_BINDTODEVICE TCP_USER_TIMEOUT AF_NETLINK AF_PACKET send_fds recv_fds",
    time: "clock_gettime clock_gettime_ns clock_settime tzset pthread_getcpuclockid CLOCK_REALTIME CLOCK_MONOTONIC",
}
MODULES = "fcntl resource pwd grp termios tty pty syslog crypt spwd nis readline curses _curses"


def take_away() -> None:
    """Delete the names and have the modules' imports fail."""
    for module, names in NAMES.items():
        for name in names.split():
            vars(module).pop(name, None)
    sys.modules.update(dict.fromkeys(MODULES.split()))  # type: ignore[arg-type]


def main() -> None:
    take_away()
    from tests.support.import_recorder import module_names

    for name in module_names():
        try:
            importlib.import_module(name)
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
else:
    take_away()
