"""The protocol's authentication on a plain socket: the first request of a connection, and the member's response."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID, uuid4

import hazelcast
from hazelcast.config import Config
from hazelcast.connection import _AuthenticationStatus
from hazelcast.core import CLIENT_TYPE, SERIALIZATION_VERSION, Address
from hazelcast.errors import (
    EXCEPTION_MESSAGE_TYPE,
    AccessControlError,
    AuthenticationError,
    create_error_from_message,
)
from hazelcast.protocol.client_message import ClientMessageBuilder, InboundMessage
from hazelcast.protocol.codec import client_authentication_codec, client_authentication_custom_codec

from .transport.reader import CheckedReader

CREDENTIALS_FAILED = _AuthenticationStatus.CREDENTIALS_FAILED
SERIALIZATION_MISMATCH = _AuthenticationStatus.SERIALIZATION_VERSION_MISMATCH
NOT_ALLOWED = _AuthenticationStatus.NOT_ALLOWED_IN_CLUSTER
_CLIENT_NAME = "hz.failover_probe"


class Reply(NamedTuple):
    """A member's response to an authentication: a status, or the name of an error."""

    status: int
    error: str | None = None
    cluster_id: UUID | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the member accepts the client."""
        return self.error is None and self.status == _AuthenticationStatus.AUTHENTICATED


def encode_authentication(config: Config, host: str, port: int) -> bytes:
    """The bytes that a connection to a member has to send first."""
    # A new id each time: a member closes an older client with the same one.
    common: tuple[Any, ...] = (
        uuid4(),
        CLIENT_TYPE,
        SERIALIZATION_VERSION,
        hazelcast.__version__,
        _CLIENT_NAME,
        frozenset(),
    )
    if config.token_provider:
        token = config.token_provider.token(Address(host, port))
        request = client_authentication_custom_codec.encode_request(config.cluster_name, token, *common)
    else:
        request = client_authentication_codec.encode_request(
            config.cluster_name, config.creds_username, config.creds_password, *common
        )
    request.set_correlation_id(1)
    request.set_partition_id(-1)
    return b"CP2" + bytes(request.buf)


def decode_authentication(received: bytes) -> Reply | None:
    """Decode a member's response; ``None`` while it is incomplete.

    Raises whatever decoding raises if the bytes are not a member's.
    """
    messages: list[InboundMessage] = []
    reader: Any = CheckedReader(ClientMessageBuilder(messages.append))
    reader.read(received)
    reader.process()
    if not messages:
        return None
    kind = messages[0].get_message_type()
    if kind == EXCEPTION_MESSAGE_TYPE:
        error = create_error_from_message(messages[0])
        if isinstance(error, (AuthenticationError, AccessControlError)):
            return Reply(CREDENTIALS_FAILED)
        return Reply(-1, type(error).__name__)
    for codec in (client_authentication_codec, client_authentication_custom_codec):
        if kind == codec._RESPONSE_MESSAGE_TYPE:
            response = codec.decode_response(messages[0])
            return Reply(int(response["status"]), cluster_id=response["cluster_id"])
    raise ValueError(f"message type {kind:#x} in answer to an authentication")
