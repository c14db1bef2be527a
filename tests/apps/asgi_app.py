"""One ASGI app with every behaviour that the end-to-end tests ask for, by path; without a lifespan."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
BLOCK = bytes(range(256)) * 256


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("this app has no lifespan")
    if scope["type"] == "websocket":
        await echo_socket(receive, send)
        return
    query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
    name = scope["path"].removeprefix(scope["root_path"]).strip("/").partition("/")[0]
    await PAGES.get(name, missing)(scope, receive, send, query)


async def _text(send: Send, text: str, status: int = 200, kind: str = "text/plain") -> None:
    body = text.encode()
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def hello(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    await _text(send, "hello")


async def missing(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    await _text(send, "no such page", 404)


async def pid(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    await _text(send, str(os.getpid()))


LEAKED: list[int] = []


async def leak(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Its pid, when it has opened all the files that it may."""
    try:
        while True:
            LEAKED.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        await _text(send, str(os.getpid()))


async def echo(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """The request as JSON: method, paths, headers, body (latin-1), scheme and client."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    shown = {
        "method": scope["method"],
        "script_name": scope["root_path"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "scheme": scope["scheme"],
        "client": scope["client"] and scope["client"][0],
        "headers": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        "body": body.decode("latin-1"),
    }
    await _text(send, json.dumps(shown), kind="application/json")


async def slow(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Answers its pid after `seconds`."""
    await asyncio.sleep(float(query.get("seconds", 1)))
    await _text(send, str(os.getpid()))


async def digest(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """As JSON the query and the SHA-1 of the body."""
    body = hashlib.sha1()
    while (message := await receive())["type"] == "http.request":
        body.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    shown = {"query": scope["query_string"].decode(), "body": body.hexdigest()}
    await _text(send, json.dumps(shown), kind="application/json")


async def pause(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """The same, after two milliseconds."""
    await asyncio.sleep(0.002)
    await digest(scope, receive, send, query)


async def block(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Blocks the event loop for `seconds`."""
    time.sleep(float(query.get("seconds", 1)))
    await _text(send, str(os.getpid()))


async def stream(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """`count` chunks, one every `pause` seconds, without a length."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(int(query.get("count", 3))):
        await asyncio.sleep(float(query.get("pause", 0)))
        await send({"type": "http.response.body", "body": f"chunk {number}\n".encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def download(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """`bytes` bytes, in blocks."""
    left = int(query["bytes"])
    headers = [(b"content-length", str(left).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while left:
        body = BLOCK[:left]
        left -= len(body)
        await send({"type": "http.response.body", "body": body, "more_body": bool(left)})


async def upload(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """How many bytes came, and their sum modulo 2**32."""
    count = total = 0
    while (message := await receive())["type"] == "http.request":
        count += len(message.get("body", b""))
        total = (total + sum(message.get("body", b""))) % 2**32
        if not message.get("more_body"):
            break
    await _text(send, json.dumps({"bytes": count, "sum": total}), kind="application/json")


async def log(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Prints `text` to stdout and stderr."""
    print(query["text"])
    print(query["text"], file=sys.stderr)
    await _text(send, "printed")


async def crash(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    os._exit(7)


async def fail(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    raise RuntimeError("on purpose")


async def grow(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Takes `mb` megabytes, touched, and sleeps `seconds` with them."""
    taken = bytearray(int(query["mb"]) * 2**20)
    await asyncio.sleep(float(query.get("seconds", 0)))
    await _text(send, str(len(taken)))


async def gone(scope: Scope, receive: Receive, send: Send, query: dict[str, str]) -> None:
    """Waits until the client has left, and says so; with `begun` after the beginning of an answer."""
    print("waiting for the client to leave", flush=True)
    if "begun" in query:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    print("the client has left", flush=True)


async def echo_socket(receive: Receive, send: Send) -> None:
    """Sends back what it gets, the pid for the text "pid"."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "pid":
            message = {"text": str(os.getpid())}
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


PAGES: dict[str, Callable[..., Awaitable[None]]] = {
    "": hello,
    "pid": pid,
    "echo": echo,
    "leak": leak,
    "slow": slow,
    "digest": digest,
    "pause": pause,
    "block": block,
    "stream": stream,
    "download": download,
    "upload": upload,
    "log": log,
    "crash": crash,
    "fail": fail,
    "grow": grow,
    "gone": gone,
}
