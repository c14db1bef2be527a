"""Whole apps: captured in one process, restored in another, where their source is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = """
import json, sys
from pathlib import Path
mode, directory, path, module, requests = sys.argv[1:]
from snapfork.adapter import restore, snapshot
if mode == "make":
    sys.path.insert(0, directory)
    app = __import__(module).app
else:
    if mode == "back with source":
        sys.path.insert(0, directory)
    app = restore(path)
if hasattr(app, "test_client"):
    client = app.test_client()
    ask = lambda method, url, **more: client.open(url, method=method, **more)
    text = lambda answer: answer.get_data(as_text=True)
else:
    from starlette.testclient import TestClient
    client = TestClient(app)
    client.__enter__()
    ask = lambda method, url, **more: client.request(method, url, **more)
    text = lambda answer: answer.text
if mode == "make":
    made = snapshot(app)
    made.write(path)
answers = []
for method, url, body in json.loads(requests):
    answer = ask(method, url, **({"json": body} if body is not None else {}))
    answers.append([answer.status_code, text(answer), answer.headers.get("x-own")])
names = sorted(vars(sys.modules[module])) if module in sys.modules else []
print(json.dumps({"answers": answers, "names": names}))
"""

FLASK = {
    "shop.py": """
import re
from flask import Blueprint, Flask, jsonify, render_template_string, request, session
from prices import CART, TABLE, price
WORDS = re.compile(r"\\w+")
app = Flask(__name__)
app.secret_key = "secret"
part = Blueprint("part", __name__, url_prefix="/part")
HITS = {"count": 0}

@part.route("/<int:number>")
def item(number):
    return jsonify(number=number, price=price(number))

@app.route("/")
def index():
    HITS["count"] += 1
    return render_template_string("{{ a }} {{ n|upper }} {{ hits }}", a=TABLE[9], n="b", hits=HITS["count"])

@app.route("/login", methods=["POST"])
def login():
    session["name"] = request.json["name"]
    return str(len(WORDS.findall(session["name"])))

@app.route("/cart")
def cart():
    return f"{CART.total()} {CART.owner is CART}"

@app.after_request
def mark(response):
    response.headers["x-own"] = "yes"
    return response

@app.errorhandler(404)
def missing(error):
    return "nothing here", 404

app.register_blueprint(part)
""",
    "prices.py": """
import functools
TABLE = {n: n * n for n in range(1000)}

@functools.lru_cache
def price(n):
    return TABLE[n] + 1

class Base:
    def total(self):
        return 0

class Cart(Base):
    def __init__(self, items):
        self.items, self.owner = items, self

    def total(self):
        return super().total() + sum(map(price, self.items))

CART = Cart([1, 2])
""",
}
FASTAPI = {
    "shop.py": """
from contextlib import asynccontextmanager
from enum import Enum
from typing import Annotated
from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, Field, field_validator

class Kind(Enum):
    SMALL = "small"
    LARGE = "large"

class Part(BaseModel):
    size: int = 3

class Item(BaseModel):
    name: str
    price: float = Field(gt=0)
    kind: Kind = Kind.SMALL
    part: Part | None = None
    tags: list[str] = []

    @field_validator("name")
    @classmethod
    def no_blank(cls, value):
        if not value.strip():
            raise ValueError("blank")
        return value.strip()

STATE = {}

@asynccontextmanager
async def lifespan(app):
    STATE["up"] = True
    yield {"started": "at start-up"}

app = FastAPI(lifespan=lifespan)
app.state.model = {"weights": [1, 2]}
router = APIRouter(prefix="/shop")

def twice(q: int = 1):
    return q * 2

@router.get("/d")
def dependent(value: Annotated[int, Depends(twice)], request: Request):
    return {"value": value, "up": STATE, "model": request.app.state.model, "started": request.state.started}

@router.post("/item")
def item(one: Item) -> Item:
    return one

@app.middleware("http")
async def mark(request, call_next):
    response = await call_next(request)
    response.headers["x-own"] = "yes"
    return response

app.include_router(router)
"""
}
STARLETTE = {
    "shop.py": """
import collections, dataclasses, enum, functools, threading
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass(slots=True)
class Point:
    x: int
    colour: Colour = Colour.RED

class Meta(type):
    def __new__(meta, name, bases, namespace):
        made = super().__new__(meta, name, bases, namespace)
        made.made = True
        return made

class Thing(metaclass=Meta):
    @classmethod
    def own(cls):
        return cls

    @functools.cached_property
    def slow(self):
        return "slow"

Pair = collections.namedtuple("Pair", "a b")
LOCK = threading.RLock()

def counter():
    count = 0
    def more():
        nonlocal count
        count += 1
        return count
    return more

more = counter()
more()
thing = Thing()
thing.itself = thing

async def index(request):
    with LOCK:
        return JSONResponse([more(), Point(1).colour.name, Pair(1, 2), thing.itself is thing,
                             Thing.own() is Thing, Thing.made, thing.slow])

app = Starlette(
    routes=[Route("/", index), Mount("/m", routes=[Route("/x", index)])],
    middleware=[Middleware(SessionMiddleware, secret_key="x")],
)
"""
}
MODELS = {
    "shop.py": """
from flask import Flask
from extensions import db
import catalogue
app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///" + __file__ + ".db"
db.init_app(app)
from models import Book
CACHE = {}
with app.app_context():
    db.create_all()
    if not Book.query.first():
        db.session.add(Book(title="a"))
        db.session.commit()
    CACHE.update({book.id: book.title for book in Book.query})
catalogue.LOADED["books"] = catalogue.LOADED.get("books", 0) + len(CACHE)

@app.route("/")
def index():
    return f"{[book.title for book in Book.query]} {CACHE} {catalogue.LOADED}"
""",
    "extensions.py": "from flask_sqlalchemy import SQLAlchemy\ndb = SQLAlchemy()\n",
    "models.py": """
from extensions import db
class Book(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String)
""",
    "catalogue.py": "LOADED = {}\n",
}
APPS: dict[str, tuple[dict[str, str], list[Any], bool]] = {
    "flask": (
        FLASK,
        [
            ("GET", "/", None),
            ("GET", "/part/3", None),
            ("POST", "/login", {"name": "a b"}),
            ("GET", "/cart", None),
            ("GET", "/no", None),
        ],
        False,
    ),
    "fastapi": (
        FASTAPI,
        [
            ("GET", "/shop/d?q=4", None),
            ("POST", "/shop/item", {"name": " a ", "price": 2, "part": {}, "kind": "large"}),
            ("POST", "/shop/item", {"name": " ", "price": -2}),
            ("GET", "/openapi.json", None),
        ],
        False,
    ),
    "starlette": (STARLETTE, [("GET", "/", None), ("GET", "/m/x", None)], False),
    "models": (MODELS, [("GET", "/", None)], True),
}


def drive(mode: str, directory: Path, path: Path, requests: list[Any]) -> dict[str, Any]:
    """What the driver printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, mode, str(directory), str(path), "shop",
         json.dumps(requests)],
        capture_output=True, text=True, timeout=150, cwd=path.parent,
        env={**os.environ, "XDG_CONFIG_HOME": str(path.parent / "config")}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("name", APPS)
def test_an_app_answers_as_before(name: str, tmp_path: Path) -> None:
    files, requests, needs_source = APPS[name]
    source = tmp_path / "source"
    source.mkdir()
    for file, text in files.items():
        (source / file).write_text(text)
    path = tmp_path / "shop.snap"
    made = drive("make", source, path, requests)
    if needs_source:
        back = drive("back with source", source, path, requests)
    else:
        source.rename(tmp_path / "gone")
        back = drive("back", source, path, requests)
    assert back["answers"] == made["answers"]
    assert set(made["names"]) - {"__spec__", "__loader__", "__cached__", "__builtins__"} <= set(back["names"])
