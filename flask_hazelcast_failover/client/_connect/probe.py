"""A probe of one address: whether a member of this cluster is there, and if not, why not.

The official client tries one address after the other, waits for a silent one without a limit, and only logs why a
connection failed. So an attempt first probes all addresses at once, with the protocol's authentication.
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

from ..._threads import at_work
from .._official import (
    CREDENTIALS_FAILED,
    NOT_ALLOWED,
    SERIALIZATION_MISMATCH,
    Reply,
    decode_authentication,
    encode_authentication,
)
from .._process.lifecycle import close_in_child

_TLS_ALERT = b"\x15\x03"
# When to connect again, seconds: the system resends dropped packets after 1, 3, 7 s …, too late for a host that restarts.
_CONNECT_RETRY = 1.5
# A member's response to an authentication has some hundred bytes.
_MAX_RESPONSE = 65536


class Verdict(Enum):
    """What a probe has found at an address."""

    MEMBER = "a member that accepts the client"
    ABSENT = "no answer"
    REFUSING = "a refusal"


@dataclass(frozen=True)
class ProbeResult:
    """The result of a probe. ``connection``: open, of a member that accepts the client."""

    verdict: Verdict
    why: str
    connection: socket.socket | None = None


class Probe:
    """Probes one address on a thread of its own.

    :param address: as configured, "host:port"
    :param ip: the IP address of its host
    :param config: the configuration to authenticate with
    :param context: the TLS settings, or ``None``
    :param deadline: when to give up, monotonic seconds
    :param on_done: called with this probe, on its thread, once ``result`` is final
    :param expected_cluster: the id of the cluster that the member has to belong to; any if ``None``
    """

    def __init__(
        self,
        address: str,
        ip: str,
        *,
        config: Config,
        context: ssl.SSLContext | None,
        deadline: float,
        on_done: Callable[[Probe], None],
        expected_cluster: UUID | None = None,
    ) -> None:
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.ip = ip
        self.expected_cluster = expected_cluster
        self.port = int(port)
        # How far it has got; final once on_done is called.
        self.result = ProbeResult(Verdict.ABSENT, "timed out")
        self._config = config
        self._context = context
        self._deadline = deadline
        self._on_done = on_done
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None  # under _lock
        self._is_cancelled = False  # under _lock
        self._thread = threading.Thread(target=self._run, name="hazelcast-failover-probe", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The address, and the IP address if that is another."""
        return self.address if self.host == self.ip else f"{self.address} ({self.ip})"

    def cancel(self) -> None:
        """Shut the connection down, which ends the probe."""
        with self._lock:
            self._is_cancelled = True
            if self._connection is not None:
                _shut(self._connection)

    def close(self, deadline: float) -> None:
        """After ``cancel``: wait for the thread until ``deadline`` (monotonic seconds) and close the connection."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self.result.connection is not None:
            self.result.connection.close()

    def _run(self) -> None:
        try:
            result = self._probe()
        except Exception as error:  # such as one of a token provider
            result = ProbeResult(Verdict.REFUSING, f"{type(error).__name__} while connecting")
        with self._lock:
            # After cancel() the attempt may have called close() already.
            if (result.connection is None or self._is_cancelled) and self._connection is not None:
                self._connection.close()
                self._connection = None
            self.result = result
        self._on_done(self)

    def _probe(self) -> ProbeResult:
        try:
            plain = self._connect()
        except ConnectionRefusedError:
            return ProbeResult(Verdict.ABSENT, "refused")
        except TimeoutError:
            return ProbeResult(Verdict.ABSENT, "timed out")
        except OSError as error:
            return ProbeResult(Verdict.ABSENT, f"not reachable ({error.strerror or error})")
        self.result = _explain_error(TimeoutError(), self._config)
        with at_work(self._thread.name):  # a token provider may hold a lock; the rest of a probe holds none
            request = encode_authentication(self._config, self.host, self.port)
        try:
            connection = self._secure(plain)
            reply = _authenticate(connection, request, self._deadline)
        except Exception as error:
            return _explain_error(error, self._config)
        if not reply.is_accepted:
            return _explain_refusal(reply, self._config)
        if self.expected_cluster not in (None, reply.cluster_id):
            return ProbeResult(
                Verdict.REFUSING, "a member of another cluster than the one that was here last"
            )
        return ProbeResult(Verdict.MEMBER, "a member", connection)

    def _connect(self) -> socket.socket:
        while True:
            plain = close_in_child(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            self._set_connection(plain)
            try:
                plain.settimeout(min(_seconds_left(self._deadline), _CONNECT_RETRY))
                plain.connect((self.ip, self.port))
            except TimeoutError:
                plain.close()
                if self._is_over():
                    raise
            else:
                return plain

    def _secure(self, plain: socket.socket) -> socket.socket:
        if self._context is None:
            return plain
        # Like the official client, which sends the host's name only if it checks it.
        name = self.host if self._context.check_hostname else None
        with self._lock:
            secured = self._context.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
            self._connection = close_in_child(secured)
        secured.settimeout(_seconds_left(self._deadline))
        secured.do_handshake()
        return secured

    def _is_over(self) -> bool:
        with self._lock:
            return self._is_cancelled or time.monotonic() >= self._deadline

    def _set_connection(self, connection: socket.socket) -> None:
        with self._lock:
            self._connection = connection
            if self._is_cancelled:
                _shut(connection)


class _NotAMember(Exception):
    pass


def _authenticate(connection: socket.socket, request: bytes, deadline: float) -> Reply:
    connection.sendall(request)
    received = b""
    while len(received) < _MAX_RESPONSE:
        connection.settimeout(_seconds_left(deadline))
        data = connection.recv(_MAX_RESPONSE)
        if not data:
            raise ConnectionError("closed")
        received += data
        _check_start(received)
        reply = decode_authentication(received)
        if reply is not None:
            return reply
    raise _NotAMember(f"not a Hazelcast member (it answered {len(received)} bytes to an authentication)")


def _check_start(start: bytes) -> None:
    """Reject what cannot be the first frame of a member's response before the rest arrives."""
    if start.startswith(_TLS_ALERT):
        raise _NotAMember("TLS: the member wants it, and ssl_enabled is not set")
    length = int.from_bytes(start[:4], "little", signed=True)
    if len(start) >= 4 and not 6 <= length <= 4096:
        raise _NotAMember(f"not a Hazelcast member (it answered {start[:24]!r})")


def _explain_error(error: Exception, config: Config) -> ProbeResult:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProbeResult(Verdict.REFUSING, f"TLS: the certificate is not trusted ({error.verify_message})")
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        return ProbeResult(
            Verdict.REFUSING, f"TLS: the handshake failed ({reason}); does the member speak TLS?"
        )
    if isinstance(error, TimeoutError):
        what = "the TLS handshake" if config.ssl_enabled else "the authentication"
        return ProbeResult(Verdict.ABSENT, f"timed out: connected, but no answer to {what}")
    if isinstance(error, ConnectionError):
        hint = "" if config.ssl_enabled else " (as a member that wants TLS does)"
        return ProbeResult(Verdict.ABSENT, f"closed by the other side while authenticating{hint}")
    if isinstance(error, OSError):
        return ProbeResult(Verdict.ABSENT, f"not reachable ({error.strerror or error})")
    if isinstance(error, _NotAMember):
        return ProbeResult(Verdict.REFUSING, str(error))
    return ProbeResult(Verdict.REFUSING, f"not a Hazelcast member ({type(error).__name__} in its answer)")


def _explain_refusal(reply: Reply, config: Config) -> ProbeResult:
    name = config.cluster_name
    if reply.error is not None:
        # Such as of a member that is starting or shutting down.
        return ProbeResult(Verdict.ABSENT, f"the member answered with {reply.error}")
    if reply.status == CREDENTIALS_FAILED and _has_credentials(config):
        return ProbeResult(Verdict.REFUSING, f"bad credentials, or wrong cluster name {name!r}")
    if reply.status == CREDENTIALS_FAILED:
        return ProbeResult(
            Verdict.REFUSING,
            f"wrong cluster name {name!r}, or bad credentials: the member wants some, and none are configured",
        )
    if reply.status == SERIALIZATION_MISMATCH:
        return ProbeResult(Verdict.REFUSING, "another version of serialization than the member's")
    if reply.status == NOT_ALLOWED:
        return ProbeResult(Verdict.REFUSING, "the client is not allowed in the cluster")
    return ProbeResult(Verdict.REFUSING, f"authentication refused with status {reply.status}")


def _has_credentials(config: Config) -> bool:
    return bool(config.creds_username or config.creds_password or config.token_provider)


def _shut(connection: socket.socket) -> None:
    """Wake the thread that waits on a connection, which closes it."""
    with contextlib.suppress(OSError):  # not connected yet, or not any more
        # Not SSLSocket.shutdown, whose state belongs to the thread that uses it.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _seconds_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("out of time")
    return left
