"""The app's ready check, run with an end: one that never returns must not hold back a failback for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ..._threads import Promise, helper_thread, in_foreign_code
from .._connect.link import Link
from ..options import ReadyCheck

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How long a check may take until that is a no for now, seconds.
_TIMEOUT = 10.0
# How many checks of one link may run at a time: one that hangs is run again, but not again and again.
_MOST_RUNNING = 3
# How often a connection is looked at while its check runs, seconds.
_INTERVAL = 0.5


class ReadyChecks:
    """Runs the check. No answer in time is a no, and an answer that comes late still counts.

    :param check: gets the official client of the cluster to return to
    :param on_answer: called with what the check says of a link; must not wait
    """

    def __init__(self, check: ReadyCheck | None, on_answer: Callable[[Link, bool], None]) -> None:
        self._check = check
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._running: Counter[Link] = Counter()  # under _lock

    def ask(self, link: Link) -> None:
        """Ask whether a cluster is ready, and wait for the answer, ten seconds at most."""
        ended = Promise[None]()
        deadline = time.monotonic() + _TIMEOUT
        running = self._start(link, ended)
        while not ended.done() and link.is_connected() and (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                ended.result(min(left, _INTERVAL))
        if ended.done():
            return
        if link.is_connected():
            _logger.warning(
                "the ready check of %s has not answered within %.0f s, which is a no for now; %d of at most %d run",
                link.label,
                _TIMEOUT,
                running,
                _MOST_RUNNING,
            )
        self._on_answer(link, False)

    def _start(self, link: Link, ended: Promise[None]) -> int:
        """Start the check, unless too many run; how many run now."""
        with self._lock:
            if self._running[link] < _MOST_RUNNING:
                helper_thread(partial(self._run, link, ended), "hazelcast-failover-ready").start()
                self._running[link] += 1
            return self._running[link]

    def _run(self, link: Link, ended: Promise[None]) -> None:
        ready = False
        try:
            with in_foreign_code():
                ready = self._check is not None and bool(self._check(link.client))
        except Exception:
            _logger.warning("the ready check of %s raised", link.label, exc_info=True)
        finally:
            with self._lock:
                self._running[link] -= 1
                if not self._running[link]:
                    del self._running[link]
            ended.set_result(None)
            self._on_answer(link, ready)
