"""Having many real proxies made on a link, for as long as the members answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

from hazelcast.future import Future

from flask_hazelcast_failover.client._connect.answers import Answers
from flask_hazelcast_failover.client._connect.link import Link, ProxyKey

__all__ = ["make_proxies", "make_proxies_in_use"]

_logger = logging.getLogger("flask_hazelcast_failover.client")

# How many proxies are made at a time that take a thread each to make.
_THREADS = 64
# How long the proxies may take that are made beforehand, seconds: what is missing is made when it is used.
_WARMING = 0.5


def make_proxies(link: Link, keys: Collection[ProxyKey], answers: Answers) -> dict[ProxyKey, Future[Any]]:
    """Have the real proxies made that a link lacks, and wait for them.

    :param answers: how long to wait; may expect other answers too
    :raises TimeoutError: the members have fallen silent
    :raises CalledOff: nobody wants them any more
    """
    missing = [key for key in keys if link.real(key) is None]
    slow = {key for key in missing if link.client.waits_in_constructor(key.service, key.name)}
    made: dict[ProxyKey, Future[Any]] = {}
    for key in sorted(missing, key=slow.__contains__):
        if key in slow:
            answers.wait(at_most=_THREADS - 1)
        made[key] = link.obtain(key)
        answers.expect(made[key])
    answers.wait()
    return made


def make_proxies_in_use(link: Link, active: Link) -> None:
    """Make the proxies that are in use on the active link, so that a switch need not."""
    keys = {key for key in active.proxy_keys() if key.service}
    end = time.monotonic() + _WARMING
    try:
        make_proxies(link, keys, Answers(_WARMING, lambda: time.monotonic() < end))
    except Exception as failure:
        _logger.debug("not every proxy was made on %s beforehand: %s", link.label, failure)
