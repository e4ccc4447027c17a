"""How the two commands end: on Ctrl-C, SIGTERM and a closed terminal alike, after tidying up, and only once."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Stopped", "stop_on_signals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Somebody wants an end. No Exception, so that nothing on the way takes it for a failure."""


def stop_on_signals() -> None:
    """Have the first of these signals raise ``Stopped`` in the main thread, and ignore all later ones."""
    for number in _STOPPING:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    # A second, impatient Ctrl-C must not interrupt the tidying up, which takes a few seconds at most.
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped
