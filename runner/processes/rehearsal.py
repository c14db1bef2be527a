"""Apps of no use, made and asked in a base before it is shared: a template's own app finds frameworks in use.

What a framework imports when an app is first made or asked, its caches of classes, routes and signatures, and
the code that CPython specialises by running it, are then there for every template, which would do all of it
again: three quarters of what a small FastAPI app takes to come up.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

RUNS = 8
"""CPython specialises a function's code after some eight calls."""
HELLO, ITEM = "/", "/items/1?q=x"
PATHS = (HELLO, ITEM)


def apps(interface: str) -> Iterator[Any]:
    """RUNS apps of each imported framework of "wsgi" or "asgi". None of them starts a thread."""
    for framework, make in MAKERS[interface].items():
        if framework in sys.modules:
            with contextlib.suppress(Exception):  # a version that is made differently goes without
                for _ in range(RUNS):
                    yield make()


def _flask() -> Any:
    from flask import Flask, jsonify, request

    app = Flask(__name__)

    @app.get("/")
    def hello() -> str:
        return "hello"

    @app.get("/items/<int:item>")
    def show(item: int) -> Any:
        return jsonify(item=item, q=request.args.get("q"))

    return app


def _fastapi() -> Any:
    from fastapi import FastAPI
    from pydantic import BaseModel

    app = FastAPI()

    class Item(BaseModel):
        name: str
        price: float = 0.0

    # Annotations are looked up in the module, where this class is not.
    def annotated(handler: Callable[..., Any], **types: Any) -> Callable[..., Any]:
        handler.__annotations__ = types
        return handler

    async def hello() -> Any:
        return {"hello": "world"}

    async def show(item: Any, q: Any = None) -> Any:
        return {"item": item, "q": q}

    async def make(item: Any) -> Any:
        return item

    app.get("/")(annotated(hello))
    app.get("/items/{item}")(annotated(show, item=int, q=str))
    app.post("/items")(annotated(make, item=Item))
    return app


def _starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route

    async def hello(_request: Any) -> Any:
        return PlainTextResponse("hello")

    async def show(request: Any) -> Any:
        return JSONResponse({"item": request.path_params["item"], "q": request.query_params.get("q")})

    return Starlette(routes=[Route("/", hello), Route("/items/{item:int}", show)])


MAKERS: dict[str, dict[str, Callable[[], Any]]] = {
    "wsgi": {"flask": _flask},
    "asgi": {"fastapi": _fastapi, "starlette.applications": _starlette},
}
