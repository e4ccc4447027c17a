"""Attempts with TLS: which certificates are trusted, and the errors if one side only uses TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from flask_hazelcast_failover.client._connect.attempt import AttemptFailed
from flask_hazelcast_failover.client._connect.probe import Verdict
from flask_hazelcast_failover.testing import LocalCluster
from tests.support.attempts import HTTP, failure, opened
from tests.support.fake_servers import Behaviour, Peer, answering, silent, unused_address


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


class TestTls:
    # Raised in the official client.
    @pytest.mark.filterwarnings("ignore:ssl.* deprecated:DeprecationWarning")
    def test_a_member_with_tls(
        self, blue: LocalCluster, server_context: ssl.SSLContext, ca_file: str
    ) -> None:
        with Peer(to_member(blue), server_context) as peer:
            address = peer.address.replace("127.0.0.1", "localhost")
            client = opened([address], ssl_enabled=True, ssl_cafile=ca_file, ssl_check_hostname=True)
            try:
                numbers: Any = client.get_map("attempts-tls").blocking()
                numbers.set("key", 1)
                assert numbers.get("key") == 1
            finally:
                client.shutdown()

    def test_the_certificate_is_for_another_name(self, server_context: ssl.SSLContext, ca_file: str) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure(
                [peer.address], within=2.0, ssl_enabled=True, ssl_cafile=ca_file, ssl_check_hostname=True
            )
        assert f"{peer.address}: TLS: the certificate is not trusted" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_the_authority_is_not_trusted(self, server_context: ssl.SSLContext) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure([peer.address], within=2.0, ssl_enabled=True)
        assert f"{peer.address}: TLS: the certificate is not trusted" in str(failed)

    def test_only_the_member_uses_tls(self, server_context: ssl.SSLContext) -> None:
        with Peer(silent, server_context) as peer:
            failed = failure([peer.address])
        # OpenSSL closes the connection if the first bytes are not TLS; other implementations send an alert first.
        assert f"{peer.address}: closed by the other side" in str(failed)
        assert "TLS" in str(failed)

    def test_only_the_member_uses_tls_and_sends_an_alert(self) -> None:
        with Peer(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as peer:
            failed = failure([peer.address])
        assert f"{peer.address}: TLS: the member wants it, and ssl_enabled is not set" in str(failed)
        assert failed.verdict is Verdict.REFUSING

    def test_only_the_client_uses_tls(self, blue: LocalCluster) -> None:
        failed = failure(blue.addresses, ssl_enabled=True, within=5.0)
        assert "TLS" in str(failed) or "closed by the other side" in str(failed)

    def test_the_client_uses_tls_and_the_peer_http(self) -> None:
        with Peer(answering(HTTP)) as peer:
            failed = failure([peer.address], within=2.0, ssl_enabled=True)
        assert f"{peer.address}: TLS: the handshake failed" in str(failed)

    def test_the_peer_is_silent(self) -> None:
        with Peer(silent) as peer:
            failed = failure([peer.address], ssl_enabled=True, within=1.0)
        assert "timed out: connected, but no answer to the TLS handshake" in str(failed)

    def test_a_missing_certificate_file(self) -> None:
        with pytest.raises(AttemptFailed, match="TLS: the settings are of no use") as caught:
            opened([unused_address()], ssl_enabled=True, ssl_cafile="/nowhere/ca.pem")
        assert caught.value.verdict is Verdict.REFUSING


def to_member(cluster: LocalCluster) -> Behaviour:
    """Forward decrypted to a real member, and back."""

    def behave(near: socket.socket) -> None:
        near.settimeout(0.002)
        with socket.create_connection(("127.0.0.1", cluster.members[0].port)) as far:
            far.settimeout(0.002)
            while True:
                for source, target in ((near, far), (far, near)):
                    with contextlib.suppress(TimeoutError):
                        data = source.recv(65536)
                        if not data:
                            return
                        target.sendall(data)

    return behave
