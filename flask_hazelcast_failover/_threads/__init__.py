"""Threads of this package: how they are started, how they wait, and what becomes of them at a fork."""

from .forks import at_work, in_foreign_code, reset_in_child, resting
from .service_thread import ServiceThread, helper_thread
from .waiting import Latch, Notifier, Promise

__all__ = [
    "Latch",
    "Notifier",
    "Promise",
    "ServiceThread",
    "at_work",
    "helper_thread",
    "in_foreign_code",
    "reset_in_child",
    "resting",
]
