"""All that uses private parts of the official client; the other packages use its public API.

Tested with hazelcast-python-client 5.5 to 5.7. At the first connection ``versions`` checks that the installed version
has every part.
"""

from .authentication import (
    CREDENTIALS_FAILED,
    NOT_ALLOWED,
    SERIALIZATION_MISMATCH,
    Reply,
    decode_authentication,
    encode_authentication,
)
from .checks import CheckRequest, machine_error
from .client_facade import ClientFacade, proper_cp_name
from .listeners.listening import size_of
from .official_client import OfficialClient
from .opening import Opening
from .resending import is_connection_problem
from .transport.clock import MonotonicTransaction
from .transport.futures import LightFuture, lighten, subscribe, wait_for_all
from .transport.reactor import call_without_waiting, fix_waker_race, is_reactor_thread

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
    "call_without_waiting",
    "decode_authentication",
    "encode_authentication",
    "fix_waker_race",
    "is_connection_problem",
    "is_reactor_thread",
    "lighten",
    "machine_error",
    "proper_cp_name",
    "size_of",
    "subscribe",
    "wait_for_all",
]
