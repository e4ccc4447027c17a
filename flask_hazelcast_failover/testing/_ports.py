"""Ports for members: free now, and left alone by the kernel afterwards."""

import random
import socket
import threading

_LOOPBACK = "127.0.0.1"

# Below the range from which kernels take the ports of outgoing connections. A client that dials a dead member's
# port inside that range again and again ends up connected to itself, and the member cannot have its port back.
_PORTS = range(20_000, 32_000)

_chance = random.SystemRandom()
_lock = threading.Lock()
_given: set[int] = set()  # guarded by _lock


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on and that this process has not been given before.

    Raises OSError when there is none.
    """
    for _ in range(1_000):
        port = _chance.choice(_PORTS)
        with _lock:
            if port in _given:
                continue
            _given.add(port)
        if _is_free(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {_LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
