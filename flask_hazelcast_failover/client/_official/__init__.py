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
from flask_hazelcast_failover.client._official.client_facade import Face, proper_cp_name
from flask_hazelcast_failover.client._official.listeners.listening import size_of
from flask_hazelcast_failover.client._official.official_client import OfficialClient, Opening
from flask_hazelcast_failover.client._official.resending import is_connection_problem
from flask_hazelcast_failover.client._official.transport.clock import SteadyTransaction
from flask_hazelcast_failover.client._official.transport.futures import LightFuture
from flask_hazelcast_failover.client._official.transport.reactor import (
    is_reactor_thread,
    put_waker_right,
    without_waiting,
)

__all__ = [
    "CREDENTIALS_FAILED",
    "NOT_ALLOWED",
    "SERIALIZATION_MISMATCH",
    "CheckRequest",
    "Face",
    "LightFuture",
    "OfficialClient",
    "Opening",
    "Reply",
    "SteadyTransaction",
    "decode_authentication",
    "encode_authentication",
    "is_connection_problem",
    "is_reactor_thread",
    "machine_error",
    "proper_cp_name",
    "put_waker_right",
    "size_of",
    "without_waiting",
]
