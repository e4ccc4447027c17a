"""Checks of the environment: an error where the client would hang."""

from __future__ import annotations

import os
import sys

# Each of these options of uWSGI enables threads, whatever its value.
_THREAD_OPTIONS = ("enable-threads", "threads")


def check_environment() -> None:
    """Reject eventlet, and uWSGI without threads.

    :raises RuntimeError: says what to use instead
    """
    if is_patched("eventlet.patcher", "is_monkey_patched"):
        raise RuntimeError(
            "the Hazelcast client does not work with eventlet's monkey patching: use gevent, or threads"
            " (gunicorn: --worker-class gevent or gthread)"
        )
    uwsgi = _uwsgi_with_threads()
    if uwsgi is None:
        return
    if not set(getattr(uwsgi, "opt", ())).intersection(_THREAD_OPTIONS):
        raise RuntimeError(
            "the Hazelcast client needs threads: start uWSGI with --enable-threads"
            " (enable-threads = true in its ini file)"
        )


def check_process() -> None:
    """Reject the environment, or a process that uWSGI will fork its workers from.

    uWSGI forks without holding the interpreter's lock: a worker forked while another thread holds it hangs.

    :raises RuntimeError: says what to use instead
    """
    check_environment()
    uwsgi = _uwsgi_with_threads()
    if uwsgi is None or not _forks_later(uwsgi):
        return
    raise RuntimeError(
        "the Hazelcast client was used before uWSGI forks its workers, which then may hang: start uWSGI with"
        " --lazy-apps (lazy-apps = true in its ini file), or use the client in requests only"
    )


def _uwsgi_with_threads() -> object | None:
    """The module that uWSGI provides; ``None`` under other servers, and under gevent, which uses no threads."""
    return None if is_patched("gevent.monkey", "is_module_patched") else sys.modules.get("uwsgi")


def _forks_later(uwsgi: object) -> bool:
    """Whether this process loads the app for all workers. uWSGI calls it worker 0."""

    def query(name: str, default: int) -> int:
        function = getattr(uwsgi, name, None)
        return default if function is None else int(function())

    master = query("masterpid", 0)
    is_origin = master == os.getpid() or (not master and getattr(uwsgi, "numproc", 1) > 1)
    return is_origin and query("worker_id", 1) == 0


def is_patched(module: str, function: str) -> bool:
    """Whether a library has replaced the standard library's threads.

    :param module: the library's module, queried only if it was imported
    :param function: its function that says so
    """
    query = getattr(sys.modules.get(module), function, None)
    return query is not None and bool(query("thread"))
