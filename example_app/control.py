"""How a page of the shop reaches the process that owns the clusters, for the demo only.

gunicorn's workers cannot restart a cluster: it belongs to the process that started it. That process accepts a few fixed
commands here, on loopback, from callers who know a secret.
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

__all__ = ["Channel", "Command", "ControlError", "command_server", "send_command"]

# Returns its result.
Command = Callable[[], str]

_TIMEOUT = 30.0  # seconds; a cluster starts in one or two


class ControlError(Exception):
    """A command failed. The message says why."""


@dataclass(frozen=True)
class Channel:
    """The port on 127.0.0.1 where commands are accepted, and the secret that they need."""

    port: int
    secret: str

    def __repr__(self) -> str:
        return f"Channel(port={self.port})"


@contextmanager
def command_server(commands: Mapping[str, Command]) -> Iterator[Channel]:
    """Accept commands until the block ends; ``commands`` has the callable of each, such as ``"kill blue"``."""
    secret = secrets.token_urlsafe(24)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(commands, secret))
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="control", daemon=True)
    thread.start()
    try:
        yield Channel(server.server_port, secret)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send_command(channel: Channel, command: str) -> str:
    """Have a command run and return its result. Raises ``ControlError`` if it failed."""
    connection = http.client.HTTPConnection("127.0.0.1", channel.port, timeout=_TIMEOUT)
    try:
        connection.request("POST", "/", command.encode(), {"Authorization": f"Bearer {channel.secret}"})
        answer = connection.getresponse()
        result = answer.read().decode()
    except OSError as error:
        raise ControlError(f"the process that owns the clusters does not answer: {error}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise ControlError(result)
    return result


def _handler(commands: Mapping[str, Command], secret: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5.0  # for a caller who sends nothing

        def do_POST(self) -> None:
            authorization = self.headers.get("Authorization", "")
            command = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), 100)).decode()
            if not hmac.compare_digest(authorization.encode(), f"Bearer {secret}".encode()):
                self._answer(401, "wrong secret")
            elif command not in commands:
                self._answer(404, f"no such command: {command!r}; there is {', '.join(commands)}")
            else:
                self._run(commands[command])

        def _run(self, command: Command) -> None:
            try:
                result = command()
            except Exception as error:
                self._answer(500, str(error))
            else:
                self._answer(200, result)

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            pass  # not in the shop's log

    return Handler
