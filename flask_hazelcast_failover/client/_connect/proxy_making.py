"""Creates many real proxies on a link, for as long as the members respond."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

from hazelcast.future import Future

from .future_batch import FutureBatch
from .link import Link, ProxyKey

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How many proxies that need a thread each are created at the same time.
_MAX_THREADS = 64
# How long a standby's proxies may take, seconds; what is missing is created at its first use.
_WARM_UP_TIMEOUT = 0.5


def make_proxies(link: Link, keys: Collection[ProxyKey], batch: FutureBatch) -> dict[ProxyKey, Future[Any]]:
    """Create the real proxies that a link lacks, and wait for them.

    :param batch: gets the futures; says how long to wait
    :raises TimeoutError: the members do not respond any more
    :raises Cancelled: they are not wanted any more
    """
    missing = [key for key in keys if link.real(key) is None]
    blocking = {key for key in missing if link.client.waits_in_constructor(key.service, key.name)}
    proxies: dict[ProxyKey, Future[Any]] = {}
    for key in sorted(missing, key=blocking.__contains__):
        if key in blocking:
            batch.wait(max_pending=_MAX_THREADS - 1)
        proxies[key] = link.obtain(key)
        batch.add(proxies[key])
    batch.wait()
    return proxies


def make_proxies_in_use(link: Link, active: Link) -> None:
    """Create the proxies that are in use on the active link, so that a switch need not."""
    keys = {key for key in active.proxy_keys() if key.service}
    deadline = time.monotonic() + _WARM_UP_TIMEOUT
    try:
        make_proxies(link, keys, FutureBatch(_WARM_UP_TIMEOUT, lambda: time.monotonic() < deadline))
    except Exception as error:
        _logger.debug("not every proxy was created on %s before a switch: %s", link.label, error)
