"""Free ports for members, which the kernel does not use for outgoing connections."""

import random
import socket

_LOOPBACK = "127.0.0.1"

# Below the range from which kernels take the ports of outgoing connections. Inside it, a client that tries a dead
# member's port again and again ends up connected to itself, and the member cannot use its port again.
_PORTS = range(20_000, 32_000)

_random = random.SystemRandom()
_returned: dict[int, object] = {}  # port -> the call that took it; changed by atomic steps of a dict


def free_port() -> int:
    """Return a port on 127.0.0.1 that is not in use and was not returned before in this process.

    Raises OSError if there is none.
    """
    call = object()
    for _ in range(1_000):
        port = _random.choice(_PORTS)
        if port not in _returned and _returned.setdefault(port, call) is call and _is_free(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop} on {_LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
