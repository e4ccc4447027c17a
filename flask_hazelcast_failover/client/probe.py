"""One question to one address: does a member of this cluster answer there, and if not, why?

The official client tries addresses one after the other, waits for a silent one without end and only
logs why a connection failed. So every address of an attempt is asked first, all at the same time,
with the protocol's own authentication.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from enum import Enum

from hazelcast.config import Config

from flask_hazelcast_failover.client.official import (
    decode_authentication,
    encode_authentication,
)
from flask_hazelcast_failover.client.tls import tls_context

__all__ = ["Answer", "Verdict", "ask"]

_TLS_ALERT = b"\x15\x03"


class Verdict(Enum):
    """What an address turned out to be."""

    MEMBER = "a member that takes us"
    ABSENT = "nobody who answers"
    REFUSING = "somebody who refuses us"


@dataclass
class Answer:
    """What an address answered. ``connection`` is open when it is a member that takes us."""

    address: str
    verdict: Verdict
    why: str
    connection: socket.socket | None = None


def ask(address: str, config: Config, deadline: float) -> Answer:
    """Ask one address, ``deadline`` (monotonic seconds) at most. Never raises."""
    host, _, port = address.rpartition(":")
    try:
        plain = socket.create_connection((host, int(port)), timeout=_left(deadline))
    except socket.gaierror as error:
        return Answer(address, Verdict.ABSENT, f"name not found ({error.strerror})")
    except ConnectionRefusedError:
        return Answer(address, Verdict.ABSENT, "refused")
    except (TimeoutError, _OutOfTime):
        return Answer(address, Verdict.ABSENT, "timed out")
    except OSError as error:
        return Answer(address, Verdict.ABSENT, f"not reachable ({error.strerror or error})")
    return _authenticated(address, plain, config, deadline)


class _OutOfTime(Exception):
    pass


class _NotAMember(Exception):
    pass


def _authenticated(address: str, plain: socket.socket, config: Config, deadline: float) -> Answer:
    connection = plain
    try:
        plain.settimeout(_left(deadline))
        if config.ssl_enabled:
            host = address.rpartition(":")[0]
            connection = tls_context(config).wrap_socket(plain, server_hostname=host)
        status = _authenticate(connection, config, address, deadline)
    except Exception as error:
        connection.close()
        return Answer(address, *_blame(error, config))
    if status == 0:
        return Answer(address, Verdict.MEMBER, "a member", connection)
    connection.close()
    return Answer(address, Verdict.REFUSING, _refusal(status, config))


def _blame(error: Exception, config: Config) -> tuple[Verdict, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            Verdict.REFUSING,
            f"TLS: the certificate is not trusted ({error.verify_message})",
        )
    if isinstance(error, ssl.SSLError):
        return (
            Verdict.REFUSING,
            f"TLS failed ({error.reason or error}): does the member speak TLS?",
        )
    if isinstance(error, (TimeoutError, _OutOfTime)):
        what = "the TLS handshake" if config.ssl_enabled else "the authentication"
        return Verdict.ABSENT, f"timed out: connected, but no answer to {what}"
    if isinstance(error, ConnectionError):
        return Verdict.ABSENT, "closed by the other side while authenticating"
    if isinstance(error, OSError):
        return Verdict.ABSENT, f"not reachable ({error.strerror or error})"
    if isinstance(error, _NotAMember):
        return Verdict.REFUSING, str(error)
    return (
        Verdict.REFUSING,
        f"not a Hazelcast member ({type(error).__name__} in its answer)",
    )


def _refusal(status: int, config: Config) -> str:
    with_credentials = bool(config.creds_username or config.creds_password or config.token_provider)
    if status == 1 and with_credentials:
        return f"bad credentials, or wrong cluster name {config.cluster_name!r}"
    if status == 1:
        return (
            f"wrong cluster name {config.cluster_name!r} (or the member wants credentials,"
            " and none are configured)"
        )
    if status == 2:
        return "serialization version not supported by the member"
    if status == 3:
        return "client not allowed in the cluster"
    return f"authentication refused with status {status}"


def _authenticate(connection: socket.socket, config: Config, address: str, deadline: float) -> int:
    connection.sendall(encode_authentication(config, address))
    answer = b""
    while True:
        connection.settimeout(_left(deadline))
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("closed")
        answer += data
        _check_start(answer)
        status = decode_authentication(answer)
        if status is not None:
            return status


def _check_start(start: bytes) -> None:
    """Refuse early what cannot be the first frame of a member's answer."""
    if start.startswith(_TLS_ALERT):
        raise _NotAMember("the member wants TLS, and ssl_enabled is not set")
    length = int.from_bytes(start[:4], "little", signed=True)
    if len(start) >= 4 and not 6 <= length <= 4096:
        raise _NotAMember(f"not a Hazelcast member (it answered {start[:24]!r})")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise _OutOfTime
    return left
