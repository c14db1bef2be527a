"""A small shop: Jinja templates and a cart in the signed session cookie, so any instance can serve any page.

runner serve shop:app --app-dir examples/flask_shop
gunicorn --chdir examples/flask_shop shop:app
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal

from flask import Flask, abort, flash, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

app = Flask(__name__)
# The same key in every process; a real shop's comes from its environment only.
app.secret_key = os.environ.get("SHOP_SECRET_KEY", "only good enough for an example")


@dataclass(frozen=True)
class Product:
    """Something to buy; `price` is in euros."""

    slug: str
    name: str
    price: Decimal
    picture: str
    text: str


PRODUCTS = {
    product.slug: product
    for product in (
        Product("kettle", "Kettle", Decimal("39.00"), "🫖", "Whistles in A, 1.2 litres."),
        Product("mug", "Mug", Decimal("12.50"), "☕️", "Stoneware, holds its warmth."),
        Product("tea", "Green tea", Decimal("8.90"), "🍵", "First flush, 100 grams."),
        Product("honey", "Honey", Decimal("6.40"), "🍯", "From the bees next door."),
        Product("biscuits", "Biscuits", Decimal("4.20"), "🍪", "A dozen, with oats."),
        Product("lamp", "Reading lamp", Decimal("54.00"), "💡", "Warm light, long arm."),
    )
}


@dataclass(frozen=True)
class Line:
    """One line of a cart."""

    product: Product
    count: int

    @property
    def price(self) -> Decimal:
        return self.product.price * self.count


def cart() -> list[Line]:
    counts: dict[str, int] = session.get("cart", {})
    return [Line(PRODUCTS[slug], count) for slug, count in counts.items() if slug in PRODUCTS]


@app.context_processor
def cart_size() -> dict[str, int]:
    return {"cart_size": sum(line.count for line in cart())}


@app.get("/")
def catalogue() -> str:
    return render_template("catalogue.html", products=PRODUCTS.values())


@app.get("/cart")
def show_cart() -> str:
    lines = cart()
    return render_template("cart.html", lines=lines, total=sum((line.price for line in lines), Decimal(0)))


@app.post("/cart/<slug>")
def change_cart(slug: str) -> Response:
    """Add `count` (form field, default 1; may be negative) of a product."""
    if slug not in PRODUCTS:
        abort(404)
    counts = dict(session.get("cart", {}))
    count = counts.get(slug, 0) + request.form.get("count", 1, type=int)
    if count > 0:
        counts[slug] = count
    else:
        counts.pop(slug, None)
    session["cart"] = counts
    return redirect(url_for("show_cart" if request.form.get("next") == "cart" else "catalogue"))


@app.post("/order")
def order() -> Response:
    if session.pop("cart", None):
        flash("Thank you! Your order is on its way.")
    return redirect(url_for("catalogue"))


@app.errorhandler(404)
def not_found(_: Exception) -> tuple[str, int]:
    return render_template("not_found.html"), 404
