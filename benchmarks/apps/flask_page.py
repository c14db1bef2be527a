"""A Flask page: a Jinja template that extends another, with a loop of fifty rows."""

from flask import Flask, render_template
from jinja2 import DictLoader

BASE = """<!doctype html>
<html><head><title>{% block title %}{% endblock %}</title></head>
<body><nav><a href="{{ url_for('catalogue') }}">Shop</a></nav>{% block body %}{% endblock %}</body></html>
"""
PAGE = """{% extends "base.html" %}
{% block title %}{{ title }}{% endblock %}
{% block body %}<table>
{% for item in items %}<tr class="{{ loop.cycle('odd', 'even') }}"><td>{{ item.name }}</td>
<td>{{ "%.2f"|format(item.price) }}</td><td>{{ "sold out" if not item.stock else item.stock }}</td></tr>
{% endfor %}</table>{% endblock %}
"""
ITEMS = [{"name": f"Item <{n}>", "price": n * 1.25, "stock": n % 7} for n in range(50)]

app = Flask(__name__)
app.jinja_loader = DictLoader({"base.html": BASE, "page.html": PAGE})


@app.get("/")
def catalogue() -> str:
    return render_template("page.html", title="Catalogue", items=ITEMS)
