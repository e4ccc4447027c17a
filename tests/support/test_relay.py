"""The relay that other tests break links with."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.relay import Relay
from tests.support.waiting import eventually


@pytest.fixture
def echo() -> Iterator[str]:
    """The address of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server,), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def _serve(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)


def connect(relay: Relay) -> socket.socket:
    host, _, port = relay.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=2.0)


def echoed(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(1024)


def test_all_bytes_are_relayed(echo: str) -> None:
    sent = bytes(range(256)) * 20_000
    received = bytearray()
    with Relay(echo) as relay, connect(relay) as near:
        writer = threading.Thread(target=near.sendall, args=(sent,))
        writer.start()
        while len(received) < len(sent):
            received += near.recv(65536)
        writer.join(5.0)
    assert received == sent


def test_the_end_of_one_side_ends_the_other(echo: str) -> None:
    with Relay(echo) as relay:
        with connect(relay) as near:
            assert echoed(near, b"hello") == b"hello"
            assert relay.link_count == 1
        eventually(lambda: relay.link_count == 0)


def test_cut_resets_open_links_and_accepts_new_ones(echo: str) -> None:
    with Relay(echo) as relay, connect(relay) as near:
        echoed(near, b"hello")
        relay.cut()
        with pytest.raises(ConnectionResetError):
            near.recv(1)
        with connect(relay) as again:
            assert echoed(again, b"again") == b"again"


def test_refuse_refuses_new_links_until_resume(echo: str) -> None:
    with Relay(echo) as relay:
        relay.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(relay)
        relay.resume()
        with connect(relay) as near:
            assert echoed(near, b"back") == b"back"


def test_freeze_keeps_links_open_and_silent_and_resume_delivers(echo: str) -> None:
    with Relay(echo) as relay, connect(relay) as near:
        echoed(near, b"hello")
        relay.freeze()
        near.sendall(b"held up")
        with connect(relay) as late:
            for silent in (near, late):
                silent.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    silent.recv(1)
                silent.settimeout(2.0)
            relay.resume()
            assert near.recv(1024) == b"held up"
            assert echoed(late, b"late") == b"late"


def test_a_frozen_link_can_be_cut(echo: str) -> None:
    with Relay(echo) as relay, connect(relay) as near:
        echoed(near, b"hello")
        relay.freeze()
        relay.cut()
        with pytest.raises(ConnectionResetError):
            near.recv(1)


@pytest.mark.timing
def test_delay_delays_each_direction(echo: str) -> None:
    with Relay(echo) as relay, connect(relay) as near:
        echoed(near, b"hello")
        relay.delay(0.1)
        began = time.monotonic()
        assert echoed(near, b"slow") == b"slow"
        assert time.monotonic() - began >= 0.2
        relay.resume()
        assert echoed(near, b"quick") == b"quick"


def test_without_a_target_the_caller_is_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"127.0.0.1:{server.getsockname()[1]}"
    with Relay(target) as relay, pytest.raises(ConnectionResetError), connect(relay) as near:
        near.recv(1)


def test_close_ends_the_thread_and_may_be_called_twice(echo: str) -> None:
    relay = Relay(echo)
    near = connect(relay)
    echoed(near, b"hello")
    relay.close()
    relay.close()
    with near, pytest.raises(ConnectionResetError):
        near.recv(1)
    assert not [thread for thread in threading.enumerate() if relay.address in thread.name]
