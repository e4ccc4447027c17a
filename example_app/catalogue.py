"""Products and their stock, both in Hazelcast.

No data is copied between clusters, so a cluster that the shop has never been on, or that came back empty, has no
products. They are put in as soon as somebody looks and misses them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TypeVar

from hazelcast.core import HazelcastJsonValue
from hazelcast.proxy.map import BlockingMap

from example_app.extensions import ext
from example_app.goods import GOODS, Product
from flask_hazelcast_failover import ClientOfflineException, ClusterChanged, OperationOutcomeUnknown

__all__ = ["Offer", "Outcome", "offers", "product", "take"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Offer:
    """A product and how many of it are left."""

    product: Product
    left: int


class Outcome(str, Enum):
    """What came of an attempt to buy."""

    BOUGHT = "bought"
    SOLD_OUT = "sold-out"
    NOT_BOUGHT = "not-bought"  # the cluster went away first: surely nothing was taken
    UNKNOWN = "unknown"  # the cluster went away meanwhile: taken or not, nobody can know


def offers() -> list[Offer]:
    """Return everything on sale, as the current cluster has it."""
    descriptions = _products().get_all(list(GOODS))
    stocks = _stocks().get_all(list(GOODS))
    return [
        Offer(
            _read(descriptions[name]) if name in descriptions else _put_product_in(name),
            stocks[name] if name in stocks else _put_stock_in(name),
        )
        for name in GOODS
    ]


def product(name: str) -> Product | None:
    """Return a product, ``None`` if there is no such thing."""
    if name not in GOODS:
        return None
    description = _products().get(name)
    return _put_product_in(name) if description is None else _read(description)


def take(name: str, quantity: int) -> Outcome:
    """Take some of a product out of stock, for a visitor who buys it. Two visitors never get the same piece.

    Read, compute, write if nobody else has written meanwhile, else begin again. ``same_cluster()`` keeps the
    two halves together: without it the number could be read on blue and, after a switch, compared with that of green.
    """
    stocks = _stocks()
    try:
        with ext.client.same_cluster():
            while True:
                left = stocks.get(name)
                if left is None:
                    left = _put_stock_in(name)
                if left < quantity:
                    return Outcome.SOLD_OUT
                # The official client annotates the key as if it were a value.
                if stocks.replace_if_same(name, left, left - quantity):  # type: ignore[arg-type]
                    return Outcome.BOUGHT
    except (ClusterChanged, ClientOfflineException):
        # The client had moved, or found nothing to move to, before the write was sent.
        return Outcome.NOT_BOUGHT
    except OperationOutcomeUnknown:
        # The write was sent and its answer never came. Sending it again might take the goods twice, and saying
        # "failed" or "done" might be a lie. The visitor is told just that.
        return Outcome.UNKNOWN


def _products() -> BlockingMap[str, HazelcastJsonValue]:
    return ext.client.get_map("shop-products").blocking()


def _stocks() -> BlockingMap[str, int]:
    # A map of its own: replace_if_same compares whole values, and a plain number compares well.
    return ext.client.get_map("shop-stock").blocking()


def _put_product_in(name: str) -> Product:
    return _read(_put_in(_products(), name, HazelcastJsonValue(asdict(GOODS[name][0]))))


def _put_stock_in(name: str) -> int:
    return _put_in(_stocks(), name, GOODS[name][1])


def _put_in(goods: BlockingMap[str, Value], name: str, value: Value) -> Value:
    """Put a value in unless another process was quicker; return what is there now."""
    try:
        there = goods.put_if_absent(name, value)
    except OperationOutcomeUnknown:
        return value  # If it was not put in after all, the next look misses it and puts it in.
    return value if there is None else there


def _read(description: HazelcastJsonValue) -> Product:
    return Product(**description.loads())
