"""The products of the shop and their initial stock."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["GOODS", "Product"]


@dataclass(frozen=True)
class Product:
    """A product. ``price`` is in cents; ``picture`` and ``tone`` name a shape and a colour of the page."""

    id: str
    name: str
    about: str
    price: int
    picture: str
    tone: str


# The product and its stock.
GOODS: dict[str, tuple[Product, int]] = {
    product.id: (product, stock)
    for product, stock in (
        (
            Product("sencha", "Sencha", "First flush from Uji. Grassy, sweet, bright.", 1450, "tin", "leaf"),
            90,
        ),
        (Product("assam", "Assam", "Malty and strong. Takes milk well.", 980, "tin", "amber"), 120),
        (
            Product("earl-grey", "Earl Grey", "Black tea with oil of real bergamot.", 1120, "tin", "night"),
            120,
        ),
        (Product("oolong", "Milk oolong", "Half oxidised, creamy, five infusions.", 1890, "tin", "jade"), 60),
        (Product("chamomile", "Chamomile", "Whole flowers. For the end of the day.", 760, "tin", "sun"), 110),
        (Product("rooibos", "Rooibos", "Red, round and free of caffeine.", 820, "tin", "rust"), 100),
        (Product("cup", "Stoneware cup", "Thrown by hand, holds a quarter litre.", 2400, "cup", "clay"), 40),
        (Product("kettle", "Gooseneck kettle", "Pours as slowly as you like.", 6900, "kettle", "steel"), 12),
    )
}
