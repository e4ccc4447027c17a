"""Products and their stock, both in Hazelcast.

No data is copied between clusters, so a cluster that the shop has not used yet, or that came back empty, has no
products. They are stored when they are read and missing.
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
    """The result of an attempt to buy."""

    BOUGHT = "bought"
    SOLD_OUT = "sold-out"
    NOT_BOUGHT = "not-bought"  # the cluster was lost before: nothing was taken
    UNKNOWN = "unknown"  # the cluster was lost meanwhile: taken or not


def offers() -> list[Offer]:
    """Return all products and their stock on the current cluster."""
    descriptions = _products().get_all(list(GOODS))
    stocks = _stocks().get_all(list(GOODS))
    return [
        Offer(
            _read(descriptions[name]) if name in descriptions else _store_product(name),
            stocks[name] if name in stocks else _store_stock(name),
        )
        for name in GOODS
    ]


def product(name: str) -> Product | None:
    """Return a product, or ``None`` if there is no such product."""
    if name not in GOODS:
        return None
    description = _products().get(name)
    return _store_product(name) if description is None else _read(description)


def take(name: str, quantity: int) -> Outcome:
    """Take some of a product out of stock for a visitor. Two visitors never get the same piece.

    A compare-and-set loop. ``same_cluster()`` keeps its halves together: without it the number could be read on blue
    and, after a switch, compared with the one on green.
    """
    stocks = _stocks()
    try:
        with ext.client.same_cluster():
            while True:
                left = stocks.get(name)
                if left is None:
                    left = _store_stock(name)
                if left < quantity:
                    return Outcome.SOLD_OUT
                # The official client annotates the key as if it were a value.
                if stocks.replace_if_same(name, left, left - quantity):  # type: ignore[arg-type]
                    return Outcome.BOUGHT
    except (ClusterChanged, ClientOfflineException):
        # The client switched, or found no cluster, before the write was sent.
        return Outcome.NOT_BOUGHT
    except OperationOutcomeUnknown:
        # The write was sent and not answered. Sending it again might take the goods twice, and "failed" or "done" might
        # be wrong. The visitor reads just that.
        return Outcome.UNKNOWN


def _products() -> BlockingMap[str, HazelcastJsonValue]:
    return ext.client.get_map("shop-products").blocking()


def _stocks() -> BlockingMap[str, int]:
    # A map of its own, since replace_if_same compares whole values.
    return ext.client.get_map("shop-stock").blocking()


def _store_product(name: str) -> Product:
    return _read(_store(_products(), name, HazelcastJsonValue(asdict(GOODS[name][0]))))


def _store_stock(name: str) -> int:
    return _store(_stocks(), name, GOODS[name][1])


def _store(goods: BlockingMap[str, Value], name: str, value: Value) -> Value:
    """Store a value unless another process was faster; return the stored one."""
    try:
        stored = goods.put_if_absent(name, value)
    except OperationOutcomeUnknown:
        return value  # If it was not stored, the next reader stores it.
    return value if stored is None else stored


def _read(description: HazelcastJsonValue) -> Product:
    return Product(**description.loads())
