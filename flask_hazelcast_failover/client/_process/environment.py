"""Where the client cannot work, it says so at once instead of hanging."""

from __future__ import annotations

import os
import sys

__all__ = ["check_environment", "check_process", "is_patched"]

_THREADS = ("enable-threads", "threads")


def check_environment() -> None:
    """Refuse eventlet and uWSGI without threads.

    :raises RuntimeError: naming what to use or to switch on instead
    """
    if is_patched("eventlet.patcher", "is_monkey_patched"):
        raise RuntimeError(
            "the Hazelcast client does not work with eventlet's monkey patching: use gevent, or threads"
            " (gunicorn: --worker-class gevent or gthread)"
        )
    uwsgi = _uwsgi_with_threads()
    if uwsgi is None:
        return
    # Each of these switches threads on in uWSGI, whatever its value.
    if not set(getattr(uwsgi, "opt", ())).intersection(_THREADS):
        raise RuntimeError(
            "the Hazelcast client needs threads: start uWSGI with --enable-threads"
            " (enable-threads = true in its ini file)"
        )


def check_process() -> None:
    """Refuse to connect where the client cannot work, and in a process that uWSGI forks its workers from afterwards.

    It forks without holding the interpreter's lock: a worker that is forked while one of our threads has it
    hangs for good.

    :raises RuntimeError: naming what to use or to switch on instead
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
    """What uWSGI says of itself; nothing under another server, and under gevent, whose greenlets are no threads."""
    return None if is_patched("gevent.monkey", "is_module_patched") else sys.modules.get("uwsgi")


def _forks_later(uwsgi: object) -> bool:
    """Whether this is the process that the app is loaded in for all workers: worker 0, as uWSGI calls it."""

    def ask(name: str, otherwise: int) -> int:
        question = getattr(uwsgi, name, None)
        return otherwise if question is None else int(question())

    master = ask("masterpid", 0)
    is_origin = master == os.getpid() or (not master and getattr(uwsgi, "numproc", 1) > 1)
    return is_origin and ask("worker_id", 1) == 0


def is_patched(module: str, question: str) -> bool:
    """Whether a library that patches the standard library has taken threads over.

    :param module: the library's, if it was imported
    :param question: its function that tells
    """
    ask = getattr(sys.modules.get(module), question, None)
    return ask is not None and bool(ask("thread"))
