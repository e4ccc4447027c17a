"""Waiting for official futures with an end, which they do not offer themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from hazelcast.future import Future

__all__ = ["wait_for", "wait_until_done"]


def wait_for(futures: Sequence[Future[Any]], deadline: float) -> list[Any]:
    """Wait for all futures and give their results.

    :param deadline: monotonic seconds
    :raises TimeoutError: one of them was not done by then
    """
    wait_until_done(futures, deadline)
    return [future.result() for future in futures]


def wait_until_done(futures: Sequence[Future[Any]], deadline: float) -> None:
    """Wait for all futures, whatever becomes of them.

    :param deadline: monotonic seconds
    :raises TimeoutError: one of them was not done by then
    """
    done = threading.Semaphore(0)
    for future in futures:
        future.add_done_callback(lambda _: done.release())
    for _ in futures:
        if not done.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimeoutError("no answer in time")
