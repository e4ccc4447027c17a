"""The pages of the shop."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from example_app import carts, catalogue, visitors
from example_app.catalogue import Outcome
from example_app.extensions import ext
from example_app.goods import GOODS
from flask_hazelcast_failover import ClientOfflineException, OperationOutcomeUnknown

__all__ = ["shop"]

shop = Blueprint("shop", __name__)

_MOST_PIECES = 20  # in one line of a cart


@shop.get("/")
def front() -> str:
    """All products."""
    return render_template("front.html", offers=catalogue.offers(), cart=carts.load())


@shop.get("/cart")
def cart() -> str:
    """The visitor's cart."""
    loaded = carts.load()
    lines = [
        (offer, loaded.lines[offer.product.id])
        for offer in catalogue.offers()
        if offer.product.id in loaded.lines
    ]
    total = sum(offer.product.price * quantity for offer, quantity in lines)
    return render_template("cart.html", cart=loaded, lines=lines, total=total)


@shop.post("/cart")
def change_cart() -> ResponseReturnValue:
    """Add a product to the cart, or change its quantity."""
    product = catalogue.product(request.form.get("product", ""))
    by = request.form.get("by", type=int)
    if product is None or by is None or not -_MOST_PIECES <= by <= _MOST_PIECES:
        abort(400, "There is no such product, or no such number of pieces.")
    carts.change(product.id, by)
    if "from_cart" in request.form:
        return redirect(url_for(".cart"), 303)
    flash(f"{product.name} is in your cart.")
    return redirect(url_for(".front", _anchor=product.id), 303)


@shop.post("/buy")
def buy() -> ResponseReturnValue:
    """Buy the cart line by line; the receipt has the outcome of each line."""
    receipt = [(name, quantity, catalogue.take(name, quantity)) for name, quantity in carts.empty().items()]
    session["receipt"] = receipt
    try:
        # What may have been bought is not put back: pressing the button again must not buy it twice.
        again = (Outcome.NOT_BOUGHT, Outcome.SOLD_OUT)
        carts.put_back({name: quantity for name, quantity, outcome in receipt if outcome in again})
    except ClientOfflineException:
        pass  # A cart can be filled again, a receipt not; and the receipt needs no cluster.
    return redirect(url_for(".receipt"), 303)


@shop.get("/receipt")
def receipt() -> str:
    """The outcome of each line. Needs no cluster: the visitor can read it even if all are down."""
    lines = [(GOODS[name][0], quantity, outcome) for name, quantity, outcome in session.get("receipt", ())]
    return render_template("receipt.html", lines=lines)


@shop.before_request
def refuse_forged_forms() -> None:
    """Refuse forms that another site sends."""
    if request.method == "POST":
        visitors.check_form()


@shop.app_errorhandler(ClientOfflineException)
def closed(error: ClientOfflineException) -> ResponseReturnValue:
    """Every cluster is down. The page tries again by itself, as the client does."""
    return render_template("closed.html"), 503, {"Retry-After": "2"}


@shop.app_errorhandler(OperationOutcomeUnknown)
def unknown(error: OperationOutcomeUnknown) -> ResponseReturnValue:
    """A change was sent and not answered. No "try again" and no Retry-After: it could run twice."""
    return render_template(
        "message.html",
        title="We cannot tell whether that worked",
        text="The connection to our data was lost at the very moment of your change. It may or may not have been made. "
        "Please look at your cart before you do it again.",
    ), 500


@shop.app_errorhandler(HTTPException)
def refused(error: HTTPException) -> ResponseReturnValue:
    """An unknown page, or a bad form."""
    page = render_template("message.html", title=error.name, text=error.description)
    response = error.get_response()
    response.set_data(page)
    response.content_type = "text/html; charset=utf-8"
    return response


@dataclass(frozen=True)
class Server:
    """The process that made a page, and the cluster of its data."""

    worker: int
    cluster: str | None
    on_primary: bool
    is_cut_off: bool


@shop.app_context_processor
def for_every_page() -> dict[str, Any]:
    """The variables of the frame around every page. They need no cluster, so that it is shown when all are down."""
    status = ext.client.status()
    return {
        "server": Server(
            os.getpid(),
            status.current_cluster,
            status.on_primary,
            is_cut_off=status.state in ("offline", "switching"),
        ),
        "pieces_in_cart": carts.pieces(),
        "form_token": visitors.form_token(),
    }


@shop.app_template_filter()
def money(cents: int) -> str:
    """Format a price."""
    return f"€ {cents / 100:.2f}"


@shop.after_app_request
def harden(response: Response) -> Response:
    """Let the pages load from the shop only, and allow no frames around them."""
    response.headers.setdefault(
        "Content-Security-Policy",
        "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
