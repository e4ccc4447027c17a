"""The one part that touches what the official client keeps private.

Everything else uses its public API. Written against and tested with hazelcast-python-client 5.5 to
5.7; ``versions`` tells at the first connection when a version no longer has what is used here.
"""

from flask_hazelcast_failover.client._official.authentication import (
    CREDENTIALS_FAILED,
    NOT_ALLOWED,
    SERIALIZATION_MISMATCH,
    Reply,
    decode_authentication,
    encode_authentication,
)
from flask_hazelcast_failover.client._official.checks import CheckRequest, machine_error
from flask_hazelcast_failover.client._official.client_facade import ClientFacade, proper_cp_name
from flask_hazelcast_failover.client._official.listeners.listening import size_of
from flask_hazelcast_failover.client._official.official_client import OfficialClient, Opening
from flask_hazelcast_failover.client._official.resending import is_connection_problem
from flask_hazelcast_failover.client._official.transport.clock import MonotonicTransaction
from flask_hazelcast_failover.client._official.transport.futures import LightFuture
from flask_hazelcast_failover.client._official.transport.reactor import (
    fix_waker_race,
    is_reactor_thread,
    without_waiting,
)

__all__ = [
    "CREDENTIALS_FAILED",
    "NOT_ALLOWED",
    "SERIALIZATION_MISMATCH",
    "CheckRequest",
    "ClientFacade",
    "LightFuture",
    "MonotonicTransaction",
    "OfficialClient",
    "Opening",
    "Reply",
    "decode_authentication",
    "encode_authentication",
    "fix_waker_race",
    "is_connection_problem",
    "is_reactor_thread",
    "machine_error",
    "proper_cp_name",
    "size_of",
    "without_waiting",
]
