"""Where the client cannot work, it says so at once instead of hanging."""

from __future__ import annotations

import sys

__all__ = ["check_environment", "is_patched"]

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
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None or is_patched("gevent.monkey", "is_module_patched"):
        return
    # Each of these switches threads on in uWSGI, whatever its value.
    if not set(getattr(uwsgi, "opt", ())).intersection(_THREADS):
        raise RuntimeError(
            "the Hazelcast client needs threads: start uWSGI with --enable-threads"
            " (enable-threads = true in its ini file)"
        )


def is_patched(module: str, question: str) -> bool:
    """Whether a library that patches the standard library has taken threads over.

    :param module: the library's, if it was imported
    :param question: its function that tells
    """
    ask = getattr(sys.modules.get(module), question, None)
    return ask is not None and bool(ask("thread"))
