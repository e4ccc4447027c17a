"""How gunicorn serves the shop."""

from __future__ import annotations

from typing import Any

from prometheus_client import multiprocess

workers = 4
worker_class = "gthread"
threads = 4
# The app is made once and then forked, which starts four times as fast. Each worker's client connects at the worker's
# first request.
preload_app = True
graceful_timeout = 2
timeout = 30
loglevel = "warning"
control_socket_disable = True


def child_exit(server: Any, worker: Any) -> None:
    """Remove the gauges of a worker that has ended."""
    multiprocess.mark_process_dead(worker.pid)
