"""How a page of the shop reaches the process that owns the clusters, for the demo only.

gunicorn's workers cannot kill a cluster: it belongs to the process that started it. That process listens here, on
loopback, to those who know a secret, and knows nothing but a few fixed orders.
"""

from __future__ import annotations

import hmac
import http.client
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Channel", "ControlError", "Order", "give", "listening"]

# Returns what came of it.
Order = Callable[[], str]

_LONGEST_ORDER = 30.0  # seconds; a cluster starts in one or two


class ControlError(Exception):
    """An order was not carried out. The message says why."""


@dataclass(frozen=True)
class Channel:
    """Where orders are taken (a port on 127.0.0.1) and the secret that they need."""

    port: int
    secret: str

    def __repr__(self) -> str:
        return f"Channel(port={self.port})"


@contextmanager
def listening(orders: Mapping[str, Order]) -> Iterator[Channel]:
    """Take orders until the block ends: each, such as ``"kill blue"``, is carried out by its callable."""
    secret = secrets.token_urlsafe(24)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(orders, secret))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="control", daemon=True)
    thread.start()
    try:
        yield Channel(server.server_port, secret)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def give(channel: Channel, order: str) -> str:
    """Have an order carried out and return what came of it. Raises ``ControlError`` if it was not."""
    connection = http.client.HTTPConnection("127.0.0.1", channel.port, timeout=_LONGEST_ORDER)
    try:
        connection.request("POST", "/", order.encode(), {"Authorization": f"Bearer {channel.secret}"})
        answer = connection.getresponse()
        told = answer.read().decode()
    except OSError as error:
        raise ControlError(f"the process that owns the clusters does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ControlError(told)
    return told


def _handler(orders: Mapping[str, Order], secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # for a caller who says nothing

        def do_POST(self) -> None:
            given = self.headers.get("Authorization", "")
            order = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 100)).decode()
            if not hmac.compare_digest(given.encode(), f"Bearer {secret}".encode()):
                self._say(401, "wrong secret")
            elif order not in orders:
                self._say(404, f"no such order: {order!r}; there is {', '.join(orders)}")
            else:
                self._carry_out(orders[order])

        def _carry_out(self, act: Order) -> None:
            try:
                outcome = act()
            except Exception as error:
                self._say(500, str(error))
            else:
                self._say(200, outcome)

        def _say(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            pass  # the shop's log is about the shop

    return Handler
