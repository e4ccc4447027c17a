"""A TCP relay between a client and a member, which simulates failures of the network."""

import contextlib
import queue
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

from flask_hazelcast_failover.testing import free_port

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_COMMAND_TIMEOUT = 5.0
# Of a limited direction: how often bytes are forwarded, seconds, and how many are buffered at most.
_INTERVAL = 0.005
_BUFFER = 65536


class _Link:
    """An accepted connection and the one to the member. Owned by the relay's thread."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.outbox: dict[socket.socket, deque[tuple[float, bytes]]] = {near: deque(), far: deque()}
        self.closing = False
        self.read_at = {near: 0.0, far: 0.0}  # when a limited direction was last read

    def other(self, end: socket.socket) -> socket.socket:
        return self.ends[1] if end is self.ends[0] else self.ends[0]


class Relay:
    """Forwards connections to `address` to a member; can cut, refuse, freeze, delay and limit them.

        with Relay(cluster.addresses[0]) as relay:
            client = HazelcastClient(cluster_members=[relay.address], ...)
            relay.freeze()

    A client connects to the addresses in the member list. To keep it on the relay in a cluster of several members,
    start them with `config={"network": {"public-address": relay.address}}`, or turn smart routing off.
    """

    def __init__(self, target: str) -> None:
        """Forward to `target`, "host:port"."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._commands: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        # From here on owned by the relay's thread.
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._listener: socket.socket | None = None
        self._links: list[_Link] = []
        self._delay = 0.0
        self._limits: tuple[float | None, float | None] = (None, None)  # bytes a second from near, from far
        self._frozen = False
        self._open = True
        self._thread = threading.Thread(target=self._run, name=f"relay {self.address}", daemon=True)
        self._listen()
        self._thread.start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def link_count(self) -> int:
        """How many connections are open through the relay."""
        return len(self._links)

    def cut(self) -> None:
        """Reset every open connection (RST, on both sides). New ones are accepted."""
        self._run_in_thread(self._reset_all)

    def refuse(self) -> None:
        """Reset every open connection and refuse new ones until `resume`."""
        self._run_in_thread(self._reset_all, self._stop_listening)

    def freeze(self) -> None:
        """Forward nothing: connections stay open, and new ones are accepted."""
        self._run_in_thread(self._set_frozen)

    def delay(self, seconds: float) -> None:
        """Deliver data `seconds` late from now on, in each direction."""

        def set_delay() -> None:
            self._delay = seconds

        self._run_in_thread(set_delay)

    def limit(self, up: float | None = None, down: float | None = None) -> None:
        """Limit each connection to `up` bytes a second to the member, and to `down` from it."""

        def set_limits() -> None:
            self._limits = (up, down)
            for link in self._links:
                self._apply_limits(link)

        self._run_in_thread(set_limits)

    def resume(self) -> None:
        """Undo `refuse`, `freeze`, `delay` and `limit`. Data that a freeze has held is delivered."""
        self._run_in_thread(self._set_normal)

    def close(self) -> None:
        """Close everything and end the relay's thread. May be called twice."""
        if self._thread.is_alive():

            def stop() -> None:
                self._open = False

            self._run_in_thread(self._reset_all, self._stop_listening, stop)
        self._thread.join(_COMMAND_TIMEOUT)
        self._wake.close()

    def _run_in_thread(self, *steps: Callable[[], None]) -> None:
        done = threading.Event()

        def command() -> None:
            for step in steps:
                step()

        self._commands.put((command, done))
        self._wake.send(b"!")
        if not done.wait(_COMMAND_TIMEOUT):
            raise AssertionError(f"the relay at {self.address} did not answer within {_COMMAND_TIMEOUT:g} s")

    def _run(self) -> None:
        while self._open:
            for key, mask in self._selector.select(self._seconds_to_next_delivery()):
                if key.fileobj is self._woken:
                    self._run_commands()
                elif key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._links and mask & selectors.EVENT_READ:
                    assert isinstance(key.fileobj, socket.socket)
                    self._receive(key.data, key.fileobj)
            if not self._frozen:
                for link in list(self._links):
                    self._read_limited(link)
                for link in list(self._links):
                    self._deliver(link)
        self._selector.close()
        self._woken.close()

    def _run_commands(self) -> None:
        self._woken.recv(4096)
        while not self._commands.empty():
            command, done = self._commands.get()
            command()
            done.set()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(128)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        self._listener = listener

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(listener)
            listener.close()

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        try:
            far = socket.create_connection(self._target, timeout=1.0)
        except OSError:
            _reset(near)
            return
        link = _Link(near, far)
        for end in link.ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)
            self._selector.register(end, selectors.EVENT_READ, link)
        self._links.append(link)
        self._apply_limits(link)

    def _limit_of(self, link: _Link, end: socket.socket) -> float | None:
        return self._limits[link.ends.index(end)]

    def _apply_limits(self, link: _Link) -> None:
        for end in link.ends:
            is_polled = self._limit_of(link, end) is not None
            with contextlib.suppress(KeyError, ValueError):
                if is_polled:
                    link.read_at[end] = time.monotonic()
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
                    self._selector.unregister(end)
                else:
                    self._selector.register(end, selectors.EVENT_READ, link)

    def _read_limited(self, link: _Link) -> None:
        now = time.monotonic()
        for end in link.ends:
            rate = self._limit_of(link, end)
            if rate is None or link.closing or link not in self._links:
                continue
            budget = int(min(rate * (now - link.read_at[end]), _BUFFER))
            if budget < 1 or sum(len(data) for _, data in link.outbox[link.other(end)]) >= _BUFFER:
                continue
            link.read_at[end] = now
            self._receive(link, end, budget)

    def _receive(self, link: _Link, end: socket.socket, most: int = 65536) -> None:
        try:
            data = end.recv(most)
        except BlockingIOError:
            return
        except OSError:
            self._drop(link)
            return
        if data:
            link.outbox[link.other(end)].append((time.monotonic() + self._delay, data))
        else:
            link.closing = True
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)

    def _deliver(self, link: _Link) -> None:
        now = time.monotonic()
        for end, outbox in link.outbox.items():
            while outbox and outbox[0][0] <= now:
                due, data = outbox.popleft()
                try:
                    sent = end.send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    self._drop(link)
                    return
                if sent < len(data):
                    outbox.appendleft((due, data[sent:]))
                    break
        if link.closing and not any(link.outbox.values()):
            self._drop(link, orderly=True)

    def _seconds_to_next_delivery(self) -> float | None:
        if self._frozen:
            return None
        if self._links and self._limits != (None, None):
            return _INTERVAL
        due = [outbox[0][0] for link in self._links for outbox in link.outbox.values() if outbox]
        # Overdue data could not be sent because the receiver's buffer is full.
        return max(0.001, min(due) - time.monotonic()) if due else None

    def _drop(self, link: _Link, *, orderly: bool = False) -> None:
        self._links.remove(link)
        for end in link.ends:
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
            if orderly:
                end.close()
            else:
                _reset(end)

    def _reset_all(self) -> None:
        for link in list(self._links):
            self._drop(link)

    def _set_frozen(self) -> None:
        self._frozen = True
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._woken:
                self._selector.unregister(key.fileobj)

    def _set_normal(self) -> None:
        self._delay = 0.0
        self._limits = (None, None)
        if not self._frozen:
            for link in self._links:
                self._apply_limits(link)
        if self._frozen:
            self._frozen = False
            for link in self._links:
                for end in link.ends:
                    self._selector.register(end, selectors.EVENT_READ, link)
            if self._listener is not None:
                self._selector.register(self._listener, selectors.EVENT_READ)
        if self._listener is None:
            self._listen()


def _reset(end: socket.socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    end.close()
