"""A cart for each visitor, in Hazelcast: product id to quantity, as JSON.

The visitor's cookie remembers the cluster of the cart and how much was in it: so the shop can tell a cart that is
missing from a new one, and say why.
"""

from __future__ import annotations

from dataclasses import dataclass

from flask import session
from hazelcast.core import HazelcastJsonValue
from hazelcast.proxy.map import BlockingMap

from example_app.extensions import ext
from example_app.visitors import visitor_id

__all__ = ["Cart", "change", "empty", "load", "pieces", "put_back"]

_LIFETIME = 24 * 3600.0  # seconds


@dataclass(frozen=True)
class Cart:
    """A visitor's cart; ``why_empty`` says why it is empty although it was not before."""

    lines: dict[str, int]
    why_empty: str | None = None


def load() -> Cart:
    """Return the visitor's cart as the current cluster has it."""
    found = _carts().get(visitor_id())
    if found is not None:
        lines = found.loads()
        _remember(lines)
        return Cart(lines)
    seen = session.get("cart", {})
    if not seen.get("pieces"):
        return Cart({})
    session["cart"] = seen | {"is_missing": True}
    return Cart({}, _why_missing(seen["cluster"], _cluster()))


def change(product: str, by: int) -> None:
    """Put more of a product into the cart, or take some out.

    Concurrent requests of one visitor may overwrite each other: a cart is not worth a compare-and-set. A switch does no
    harm: ``set`` is repeated, and the cart is on the new cluster.
    """
    lines = load().lines
    lines[product] = lines.get(product, 0) + by
    _save({name: quantity for name, quantity in lines.items() if quantity > 0})


def empty() -> dict[str, int]:
    """Empty the cart and return what was in it, in one step: of two clicks on "buy" one gets nothing."""
    taken = _carts().remove(visitor_id())
    if taken is None:
        load()  # remembers that it is missing
        return {}
    _remember({})
    lines: dict[str, int] = taken.loads()
    return lines


def put_back(lines: dict[str, int]) -> None:
    """Put back into the cart what was not bought."""
    if lines:
        _save(lines)


def pieces() -> int:
    """Return how many pieces were in the cart when it was last read, without a call to a cluster."""
    seen = session.get("cart", {})
    return 0 if seen.get("is_missing") else int(seen.get("pieces", 0))


def _save(lines: dict[str, int]) -> None:
    _carts().set(visitor_id(), HazelcastJsonValue(lines), ttl=_LIFETIME)
    _remember(lines)


def _carts() -> BlockingMap[str, HazelcastJsonValue]:
    return ext.client.get_map("shop-carts").blocking()


def _remember(lines: dict[str, int]) -> None:
    session["cart"] = {"cluster": _cluster(), "pieces": sum(lines.values())}


def _why_missing(before: str, now: str | None) -> str:
    if before == now:
        return (
            f"The cluster {now} no longer has your cart: it was restarted and is empty, or a day has gone by."
        )
    return f"Your cart stayed on {before}: the shop moved to {now}, and no data is copied between clusters."


def _cluster() -> str | None:
    return ext.client.status().current_cluster
