"""A Hazelcast client for Flask that outlives its cluster."""

import warnings

with warnings.catch_warnings():
    # On Python 3.11 the official client imports what is deprecated there: wherever warnings are errors, as in
    # many a project's tests, not even the pytest plugin could be loaded.
    warnings.filterwarnings("ignore", "The asyncore module is deprecated", DeprecationWarning)
    import hazelcast as _official  # noqa: F401

from . import signals
from ._extension import HazelcastFailover
from .client import HazelcastClient
from .errors import ClientOfflineException, ClusterChanged, OperationOutcomeUnknown
from .failover import ClientConfig, CNAMEResolver, FailoverConfig

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
