"""A Hazelcast client for Flask that outlives its cluster."""

import sys
import warnings
from typing import TYPE_CHECKING

from ._lazy_names import importing

if sys.version_info < (3, 12):
    with warnings.catch_warnings():
        # The official client imports it, which warns on Python 3.11: wherever warnings are errors, as in many a
        # project's tests, our modules could not be imported. It does not warn again.
        warnings.simplefilter("ignore", DeprecationWarning)
        import asyncore  # noqa: F401

if TYPE_CHECKING:
    from . import signals
    from ._extension import HazelcastFailover
    from .client import HazelcastClient
    from .errors import ClientOfflineException, ClusterChanged, OperationOutcomeUnknown
    from .failover import ClientConfig, CNAMEResolver, FailoverConfig
else:
    __getattr__ = importing(
        __name__,
        {
            "CNAMEResolver": "failover",
            "ClientConfig": "failover",
            "ClientOfflineException": "errors",
            "ClusterChanged": "errors",
            "FailoverConfig": "failover",
            "HazelcastClient": "client",
            "HazelcastFailover": "_extension",
            "OperationOutcomeUnknown": "errors",
            "client": "client",
            "errors": "errors",
            "failover": "failover",
            "signals": "signals",
        },
    )

__all__ = [
    "CNAMEResolver",
    "ClientConfig",
    "ClientOfflineException",
    "ClusterChanged",
    "FailoverConfig",
    "HazelcastClient",
    "HazelcastFailover",
    "OperationOutcomeUnknown",
    "signals",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
