"""Asking the app's ready check, with an end: one that never returns must not hold back a failback for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from flask_hazelcast_failover.client._connect.link import Link
from flask_hazelcast_failover.client.options import ReadyCheck

__all__ = ["ReadyChecks"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long a check may take until that is a no for now, seconds.
_PATIENCE = 10.0
# How many may run over one connection: a check that hangs is asked anew, but not again and again.
_MOST = 3
# How often it is looked whether the connection is still there, seconds.
_PACE = 0.5


class ReadyChecks:
    """Asks the check. No answer in time is a no, and an answer that comes late still counts.

    :param check: gets the official client of the cluster to return to
    :param answer: is told what the check says of a link; must not wait
    """

    def __init__(self, check: ReadyCheck | None, answer: Callable[[Link, bool], None]) -> None:
        self._check = check
        self._answer = answer
        self._lock = threading.Lock()
        self._running: Counter[Link] = Counter()  # under _lock

    def ask(self, link: Link) -> None:
        """Ask whether a cluster is ready, and wait for the answer while there is patience."""
        over = threading.Event()
        end = time.monotonic() + _PATIENCE
        running = self._begin(link, over)
        while not over.is_set() and link.is_connected() and (left := end - time.monotonic()) > 0:
            over.wait(min(left, _PACE))
        if over.is_set():
            return
        if link.is_connected():
            _logger.warning(
                "the ready check of %s has not answered within %.0f s, which is a no for now; %d of at most %d run",
                link.label,
                _PATIENCE,
                running,
                _MOST,
            )
        self._answer(link, False)

    def _begin(self, link: Link, over: threading.Event) -> int:
        """Have the check run, unless too many do; how many do now."""
        with self._lock:
            if self._running[link] < _MOST:
                threading.Thread(
                    target=self._run, args=(link, over), name="hazelcast-failover-ready", daemon=True
                ).start()
                self._running[link] += 1
            return self._running[link]

    def _run(self, link: Link, over: threading.Event) -> None:
        ready = False
        try:
            ready = self._check is not None and bool(self._check(link.client))
        except Exception:
            _logger.warning("the ready check of %s raised", link.label, exc_info=True)
        finally:
            with self._lock:
                self._running[link] -= 1
                if not self._running[link]:
                    del self._running[link]
            over.set()
            self._answer(link, ready)
