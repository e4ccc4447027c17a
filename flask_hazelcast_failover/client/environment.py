"""Where the client cannot work, it says so at once instead of hanging."""

from __future__ import annotations

import sys

__all__ = ["check_environment"]


def check_environment() -> None:
    """Refuse eventlet and uWSGI without threads.

    :raises RuntimeError: naming what to use or to switch on instead
    """
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        raise RuntimeError(
            "the Hazelcast client does not work with eventlet's monkey patching: use gevent, or threads"
            " (gunicorn: --worker-class gevent or gthread)"
        )
    uwsgi = sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", {})
    if uwsgi is not None and not any(options.get(name) for name in _THREADS):
        raise RuntimeError("the Hazelcast client needs threads: start uWSGI with --enable-threads")


_THREADS = ("enable-threads", b"enable-threads", "threads", b"threads")
