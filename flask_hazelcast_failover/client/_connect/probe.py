"""One question to one address: does a member of this cluster answer there, and if not, why?

The official client tries addresses one after the other, waits for a silent one without end and only
logs why a connection failed. So every address of an attempt is asked first, all at the same time,
with the protocol's own authentication.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from hazelcast.config import Config

from flask_hazelcast_failover.client._official import (
    CREDENTIALS_FAILED,
    NOT_ALLOWED,
    SERIALIZATION_MISMATCH,
    Reply,
    decode_authentication,
    encode_authentication,
)
from flask_hazelcast_failover.client._process.lifecycle import close_in_child

__all__ = ["Probe", "ProbeResult", "Verdict"]

_TLS_ALERT = b"\x15\x03"
# The system sends packets that were dropped again after 1 s, 3 s, 7 s …: too seldom for a host that comes back, seconds.
_DIAL_AGAIN = 1.5
# A member's answer to an authentication takes some hundred bytes.
_LONGEST_ANSWER = 65536


class Verdict(Enum):
    """What an address turned out to be."""

    MEMBER = "a member that takes us"
    ABSENT = "nobody who answers"
    REFUSING = "somebody who refuses us"


@dataclass(frozen=True)
class ProbeResult:
    """What an address answered. ``connection`` is open when it is a member that takes us."""

    verdict: Verdict
    why: str
    connection: socket.socket | None = None


class Probe:
    """Asks one address on a thread of its own.

    :param address: as configured, "host:port"
    :param ip: where that is
    :param config: the configuration to authenticate with
    :param context: the TLS settings, or ``None``
    :param deadline: when to give up, monotonic seconds
    :param done: called with this probe on its thread when ``answer`` is there
    :param expected: the id of the cluster that the member has to be of; any if ``None``
    """

    def __init__(
        self,
        address: str,
        ip: str,
        *,
        config: Config,
        context: ssl.SSLContext | None,
        deadline: float,
        done: Callable[[Probe], None],
        expected: UUID | None = None,
    ) -> None:
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.ip = ip
        self.port = int(port)
        # What to say if it ends now; final once done is called.
        self.answer = ProbeResult(Verdict.ABSENT, "timed out")
        self._config = config
        self._context = context
        self._deadline = deadline
        self._done = done
        self._expected = expected
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None  # under _lock
        self._ended = False  # under _lock
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-probe", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Hang up, whatever the probe is doing."""
        with self._lock:
            self._ended = True
            if self._connection is not None:
                _shut(self._connection)

    def close(self, deadline: float) -> None:
        """After ``end``: wait for the thread until ``deadline`` (monotonic seconds) and close the connection."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self.answer.connection is not None:
            self.answer.connection.close()

    def _run(self) -> None:
        try:
            answer = self._ask()
        except Exception as error:  # of a token provider, or of what nobody thought of
            answer = ProbeResult(Verdict.REFUSING, f"{type(error).__name__} while connecting")
        with self._lock:
            # Once it was told to end nobody may be there any more to close what was opened after all.
            if (answer.connection is None or self._ended) and self._connection is not None:
                self._connection.close()
                self._connection = None
            self.answer = answer
        self._done(self)

    def _ask(self) -> ProbeResult:
        try:
            plain = self._connected()
        except ConnectionRefusedError:
            return ProbeResult(Verdict.ABSENT, "refused")
        except TimeoutError:
            return ProbeResult(Verdict.ABSENT, "timed out")
        except OSError as error:
            return ProbeResult(Verdict.ABSENT, f"not reachable ({error.strerror or error})")
        self.answer = ProbeResult(*_blame(TimeoutError(), self._config))
        request = encode_authentication(self._config, self.host, self.port)
        try:
            connection = self._secured(plain)
            reply = _authenticate(connection, request, self._deadline)
        except Exception as error:
            return ProbeResult(*_blame(error, self._config))
        if reply.is_accepted and self._expected not in (None, reply.cluster_id):
            return ProbeResult(
                Verdict.REFUSING, "a member of another cluster than the one that was here last"
            )
        if reply.is_accepted:
            return ProbeResult(Verdict.MEMBER, "a member", connection)
        return ProbeResult(*_refusal(reply, self._config))

    def _connected(self) -> socket.socket:
        while True:
            plain = close_in_child(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            self._hold(plain)
            try:
                plain.settimeout(min(_left(self._deadline), _DIAL_AGAIN))
                plain.connect((self.ip, self.port))
            except TimeoutError:
                plain.close()
                if self._is_over():
                    raise
            else:
                return plain

    def _secured(self, plain: socket.socket) -> socket.socket:
        if self._context is None:
            return plain
        # As the official client: it names the host only when it is to be checked.
        name = self.host if self._context.check_hostname else None
        with self._lock:
            secured = self._context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
            self._connection = close_in_child(secured)
        secured.settimeout(_left(self._deadline))
        secured.do_handshake()
        return secured

    def _is_over(self) -> bool:
        with self._lock:
            return self._ended or time.monotonic() >= self._deadline

    def _hold(self, connection: socket.socket) -> None:
        with self._lock:
            self._connection = connection
            if self._ended:
                _shut(connection)


class _NotAMember(Exception):
    pass


def _authenticate(connection: socket.socket, request: bytes, deadline: float) -> Reply:
    connection.sendall(request)
    answer = b""
    while len(answer) < _LONGEST_ANSWER:
        connection.settimeout(_left(deadline))
        data = connection.recv(_LONGEST_ANSWER)
        if not data:
            raise ConnectionError("closed")
        answer += data
        _check_start(answer)
        reply = decode_authentication(answer)
        if reply is not None:
            return reply
    raise _NotAMember(f"not a Hazelcast member (it answered {len(answer)} bytes to an authentication)")


def _check_start(start: bytes) -> None:
    """Refuse early what cannot be the first frame of a member's answer."""
    if start.startswith(_TLS_ALERT):
        raise _NotAMember("TLS: the member wants it, and ssl_enabled is not set")
    length = int.from_bytes(start[:4], "little", signed=True)
    if len(start) >= 4 and not 6 <= length <= 4096:
        raise _NotAMember(f"not a Hazelcast member (it answered {start[:24]!r})")


def _blame(error: Exception, config: Config) -> tuple[Verdict, str]:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Verdict.REFUSING, f"TLS: the certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return Verdict.REFUSING, f"TLS: the handshake failed ({reason}); does the member speak TLS?"
    if isinstance(error, TimeoutError):
        what = "the TLS handshake" if config.ssl_enabled else "the authentication"
        return Verdict.ABSENT, f"timed out: connected, but no answer to {what}"
    if isinstance(error, ConnectionError):
        hint = "" if config.ssl_enabled else " (as a member that wants TLS does)"
        return Verdict.ABSENT, f"closed by the other side while authenticating{hint}"
    if isinstance(error, OSError):
        return Verdict.ABSENT, f"not reachable ({error.strerror or error})"
    if isinstance(error, _NotAMember):
        return Verdict.REFUSING, str(error)
    return Verdict.REFUSING, f"not a Hazelcast member ({type(error).__name__} in its answer)"


def _refusal(reply: Reply, config: Config) -> tuple[Verdict, str]:
    name = config.cluster_name
    if reply.error is not None:
        # Such as a member that is only starting, or shutting down.
        return Verdict.ABSENT, f"the member answered with {reply.error}"
    if reply.status == CREDENTIALS_FAILED and _has_credentials(config):
        return Verdict.REFUSING, f"bad credentials, or wrong cluster name {name!r}"
    if reply.status == CREDENTIALS_FAILED:
        return (
            Verdict.REFUSING,
            f"wrong cluster name {name!r}, or bad credentials: the member wants some, and none are configured",
        )
    if reply.status == SERIALIZATION_MISMATCH:
        return Verdict.REFUSING, "another version of serialization than the member's"
    if reply.status == NOT_ALLOWED:
        return Verdict.REFUSING, "the client is not allowed in the cluster"
    return Verdict.REFUSING, f"authentication refused with status {reply.status}"


def _has_credentials(config: Config) -> bool:
    return bool(config.creds_username or config.creds_password or config.token_provider)


def _shut(connection: socket.socket) -> None:
    """Wake whoever waits on a connection; only its owner closes it."""
    with contextlib.suppress(OSError):  # not connected yet, or not any more
        # Of a TLS connection as well: what SSLSocket puts on top belongs to its own thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("out of time")
    return left
