"""The same requests against the same apps here and under uvicorn: the same answers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from asgiapps import menu
from asgilender import Client, Lender
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

OWN = ("date", "server", "x-request-id")
"""Headers that each server words its own way."""


async def form(request: Request) -> Response:
    data = await request.json()
    return JSONResponse({"seen": data, "query": dict(request.query_params), "path": request.url.path})


async def pieces(request: Request) -> Response:
    async def body() -> Any:
        for number in range(5):
            yield f"piece {number}\n"

    return StreamingResponse(body())


async def task(request: Request) -> Response:
    return PlainTextResponse("later", background=BackgroundTask(lambda: None))


async def away(request: Request) -> Response:
    return RedirectResponse("/pieces")


async def cookies(request: Request) -> Response:
    response = PlainTextResponse(request.cookies.get("a", "none"))
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def broken(request: Request) -> Response:
    raise RuntimeError("deliberate")


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-stamp"] = "1"
        return response


def starlette() -> Starlette:
    routes = [
        Route("/form/{name:path}", form, methods=["POST"]),
        Route("/pieces", pieces),
        Route("/task", task),
        Route("/away", away),
        Route("/cookies", cookies),
        Route("/broken", broken),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(Stamp)
    return app


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: a.example", *headers]
    if body and not any(header.startswith("Transfer") for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


PLAIN = [
    request("GET /"),
    request("HEAD /"),
    request("OPTIONS *"),
    request("GET /stream"),
    request("HEAD /stream"),
    request("GET /empty"),
    request("POST /echo", body=b"x" * 100_000),
    request(
        "POST /echo", "Transfer-Encoding: chunked", body=b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n"
    ),
    request("PUT /echo", body=bytes(range(256))),
    request("POST /echo", "Content-Length: 0"),
    request("GET /caf%C3%A9/%2F?q=%zz&a=b+c"),
    request("GET http://a.example/echo?x"),
    request("GET /crash"),
    request("GET /no-answer"),
    request("GET /", "Connection: close"),
    request("GET /stream", "Connection: close"),
    request("GET /", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    request("GET /") + request("POST /echo", body=b"second") + request("GET /stream"),
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
]
FRAMEWORK = [
    request("POST /form/a%20b/c?x=1&x=2", "Content-Type: application/json", body=b'{"a": [1, "\xc3\xa9"]}'),
    request("GET /form/x"),
    request("GET /pieces"),
    request("HEAD /pieces"),
    request("GET /task"),
    request("GET /away"),
    request("GET /cookies", "Cookie: a=b"),
    request("GET /broken"),
    request("GET /nowhere"),
]


def answers(client: Client, raw: bytes) -> list[Any]:
    """Every response to `raw`, less what is each server's own."""
    count = raw.count(b" HTTP/1.")
    result = []
    for _ in range(count):
        status, headers, body = client.response(head_only=raw.startswith(b"HEAD"))
        result.append((status, sorted((k, v) for k, v in headers.items() if k not in OWN), body))
    return result


@pytest.fixture(scope="module", params=["plain", "framework"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Lender, tuple[str, int], list[bytes]]]:
    app, table = (menu, PLAIN) if request.param == "plain" else (starlette(), FRAMEWORK)
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])
        os._exit(0)
    with Lender(app) as lender:
        yield lender, listener.getsockname(), table
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    listener.close()


def test_same_answers_as_uvicorn(pair: tuple[Lender, tuple[str, int], list[bytes]]) -> None:
    lender, address, table = pair
    for raw in table:
        theirs = Client(socket.create_connection(address))
        theirs.send(raw)
        ours = lender.lend(raw[:65536])
        ours.send(raw[65536:])
        assert answers(ours, raw) == answers(theirs, raw), raw[:200]
        theirs.close()
