"""Ctrl-C, SIGTERM and SIGHUP end the two commands in the same way: once, and after the clean-up."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Stopped", "stop_on_signals"]

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal ended the command. Not an Exception, so that no handler takes it for a failure."""


def stop_on_signals() -> None:
    """Let the first signal raise ``Stopped`` in the main thread, and ignore later ones."""
    for number in _STOPPING:
        signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    # A second Ctrl-C must not interrupt the clean-up, which takes a few seconds.
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped
