"""Having many real proxies made on a link, for as long as the members answer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hazelcast.future import Future

from flask_hazelcast_failover.client.link import Link, ProxyKey
from flask_hazelcast_failover.client.waiting import Answers

__all__ = ["have_made"]

# How many proxies are made at a time that take a thread each to make.
_THREADS = 64


def have_made(link: Link, keys: Collection[ProxyKey], answers: Answers) -> dict[ProxyKey, Future[Any]]:
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
