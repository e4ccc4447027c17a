"""Kill the primary cluster under load and print what the visitors saw: ``python -m example_app.demo``, or ``make demo``.

Exits with 0 only if no request failed.
"""

from __future__ import annotations

import http.client
import queue
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from example_app.launcher import Buttons, Shop, ShopError, open_shop
from example_app.shoppers import Shopper, Visit
from example_app.stop_signals import Stopped, stop_on_signals
from flask_hazelcast_failover.testing import LocalClusterError

_SHOPPERS = 6
_ROW = 0.5  # seconds for each line of the timeline
_ROWS_BETWEEN = 3  # lines before, between and after the steps
_WARM_UP = 10 * _SHOPPERS  # requests before the timeline begins
_TIMEOUT = 10.0  # seconds
_LINES_OF_LOG = 40


@dataclass(frozen=True)
class Step:
    """A change of the clusters."""

    title: str
    run: Callable[[Shop], object]


def _reset(shop: Shop) -> None:
    """Fail all processes of the shop back, as an operator's script would: try until all can reach the primary."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", shop.port, timeout=_TIMEOUT)
        with closing(connection):
            connection.request(
                "POST", "/hazelcast/reset", headers={"Authorization": f"Bearer {shop.admin_token}"}
            )
            answer = connection.getresponse()
            body = answer.read().decode()
        if answer.status == HTTPStatus.OK:
            return
        if answer.status != HTTPStatus.CONFLICT or time.monotonic() > deadline:
            raise ShopError(f"the reset was refused: {body}")
        time.sleep(_ROW)


STEPS = (
    Step("kill -9: every member of blue, the primary", lambda shop: shop.clusters[0].kill()),
    Step("blue restarts, empty", lambda shop: shop.clusters[0].restart()),
    Step("POST /hazelcast/reset: back to blue", _reset),
)


def main() -> int:
    """Run the demo; return the exit status."""
    stop_on_signals()
    print(
        f"Starting clusters blue (the primary) and green, and the shop on them; {_SHOPPERS} visitors ...",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "shop.log")
        try:
            with log.open("wb") as output, open_shop(0, Buttons.HIDDEN, output) as shop:
                visits = _run(shop)
        except Stopped:
            print("\nStopped.")
            return 1
        except (ShopError, LocalClusterError) as error:
            print(f"{error}\n\nThe end of the shop's log:\n{_tail(log)}", file=sys.stderr)
            return 1
        failed = [visit for visit in visits if visit.failure]
        print(_summary(visits))
        if failed:
            print(f"\nThe first failure: {failed[0].failure}\n\nThe end of the shop's log:\n{_tail(log)}")
    return 1 if failed else 0


def _run(shop: Shop) -> list[Visit]:
    """Have visitors shop during the steps, print the timeline, and return every visit."""
    reported: queue.SimpleQueue[Visit] = queue.SimpleQueue()
    shoppers = [Shopper(shop.url, reported.put) for _ in range(_SHOPPERS)]
    for shopper in shoppers:
        shopper.start()
    ready_by = time.monotonic() + _TIMEOUT
    while reported.qsize() < _WARM_UP and time.monotonic() < ready_by:
        time.sleep(_ROW / 10)
    visits = _received(reported)
    print(f"\n{'s':>4}  {'requests/s':>10}  {'failed':>6}  {'slowest':>8}  served by")
    start = time.monotonic()
    for row, _ in enumerate(_rows(shop), start=1):
        time.sleep(max(0.0, start + row * _ROW - time.monotonic()))
        recent = _received(reported)
        print(_row_of(row * _ROW, recent), flush=True)
        visits += recent
    for shopper in shoppers:
        shopper.stop()
    return visits + _received(reported)


def _rows(shop: Shop) -> Iterator[None]:
    """Run the steps one after the other, with some rows before, between and after them; yield once for each row.

    Raises the errors of the steps.
    """
    with ThreadPoolExecutor(1) as executor:  # a cluster takes a while to start, and the timeline continues
        for step in STEPS:
            yield from [None] * _ROWS_BETWEEN
            print(f"      ---- {step.title} ----", flush=True)
            running = executor.submit(step.run, shop)
            while not running.done():
                yield
            running.result()
        yield from [None] * _ROWS_BETWEEN


def _received(reported: queue.SimpleQueue[Visit]) -> list[Visit]:
    return [reported.get() for _ in range(reported.qsize())]


def _row_of(at: float, visits: Sequence[Visit]) -> str:
    failed = sum(visit.failure is not None for visit in visits)
    slowest = max((visit.took for visit in visits), default=0.0)
    return f"{at:4.1f}  {len(visits) / _ROW:10.0f}  {failed:6d}  {slowest * 1000:5.0f} ms  {_served_by(visits)}".rstrip()


def _served_by(visits: Sequence[Visit]) -> str:
    """The clusters in the order of their first pages, with the number of pages if there are several."""
    pages = Counter(visit.cluster for visit in visits if visit.cluster)
    if len(pages) < 2:
        return "".join(pages)
    return ", then ".join(f"{cluster} ({count})" for cluster, count in pages.items())


def _summary(visits: Sequence[Visit]) -> str:
    failed = sum(visit.failure is not None for visit in visits)
    bought, unknown = sum(visit.bought for visit in visits), sum(visit.unknown for visit in visits)
    slowest = max((visit.took for visit in visits), default=0.0)
    return (
        f"\nrequests {len(visits)}  failed {failed}  slowest {slowest * 1000:.0f} ms"
        f"\nbought {bought} times; {unknown} times the shop had to say: we cannot tell whether that went through"
    )


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES_OF_LOG:])


if __name__ == "__main__":
    sys.exit(main())
