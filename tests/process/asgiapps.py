"""Plain ASGI apps for the tests of the ASGI loop."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

Scope = dict[str, Any]


async def reply(
    send: Any, body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", str(len(body)).encode()), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("client left")
        body += message["body"]
        if not message["more_body"]:
            return body


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, b"hello")


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, await read_body(receive))


async def describe(scope: Scope, receive: Any, send: Any) -> None:
    """The scope as JSON."""
    seen = {name: value for name, value in scope.items() if name not in ("headers", "state")}
    seen["headers"] = [[n.decode(), v.decode("latin-1")] for n, v in scope["headers"]]
    seen["raw_path"] = scope["raw_path"].decode()
    seen["query_string"] = scope["query_string"].decode()
    seen["state"] = sorted(scope["state"])
    await reply(send, json.dumps(seen).encode())


async def menu(scope: Scope, receive: Any, send: Any) -> None:
    """Behaviours by path."""
    if scope["type"] == "websocket":
        return await socket_menu(scope, receive, send)
    await PATHS.get(scope["path"], hello)(scope, receive, send)


async def count_bytes(scope: Scope, receive: Any, send: Any) -> None:
    total = 0
    while True:
        message = await receive()
        total += len(message["body"])
        if not message["more_body"]:
            break
    await reply(send, str(total).encode())


async def stream(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for part in (b"one,", b"two,", b"three"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0.01)
    await send({"type": "http.response.body", "body": b""})


async def big(scope: Scope, receive: Any, send: Any) -> None:
    block = bytes(1 << 20)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"16777216")]})
    for left in range(15, -1, -1):
        await send({"type": "http.response.body", "body": block, "more_body": left > 0})


async def events(scope: Scope, receive: Any, send: Any) -> None:
    """Server-sent events until the client leaves; then a line on standard error."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    sys.stderr.write("client left\n")


async def head_only_first(scope: Scope, receive: Any, send: Any) -> None:
    """Sends its head, and a body only when the client has left."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        pass


async def wait_disconnect(scope: Scope, receive: Any, send: Any) -> None:
    """Answers only when the client has closed its side."""
    await read_body(receive)
    while (await receive())["type"] != "http.disconnect":
        pass
    sys.stderr.write("saw disconnect\n")
    await reply(send, b"late")


async def slow(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(0.3)
    await reply(send, b"slow")


async def forever(scope: Scope, receive: Any, send: Any) -> None:
    await asyncio.sleep(3600)


async def stubborn(scope: Scope, receive: Any, send: Any) -> None:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            sys.stderr.write("not now\n")


async def blocking(scope: Scope, receive: Any, send: Any) -> None:
    time.sleep(0.7)
    await reply(send, b"blocked")


async def background(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, b"done")
    await asyncio.sleep(0.5)
    sys.stderr.write("background over\n")


async def crash(scope: Scope, receive: Any, send: Any) -> None:
    raise ValueError("deliberate")


async def crash_late(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"part", "more_body": True})
    raise ValueError("deliberate")


async def bad_header(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, b"x", headers=((b"x-bad", b"a\r\nb"),))


async def no_answer(scope: Scope, receive: Any, send: Any) -> None:
    return


async def early(scope: Scope, receive: Any, send: Any) -> None:
    """Answers without reading the body."""
    await reply(send, b"no thanks", 413)


async def empty(scope: Scope, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def own_id(scope: Scope, receive: Any, send: Any) -> None:
    await reply(send, b"x", headers=((b"X-Request-ID", b"mine"), (b"Server", b"app")))


async def who(scope: Scope, receive: Any, send: Any) -> None:
    from snapfork.runner.processes.serving import current_request_id

    await reply(send, f"{os.getpid()} {current_request_id.get()}".encode())


async def leave_now(scope: Scope, receive: Any, send: Any) -> None:
    sys.exit(3)


PATHS = {
    "/echo": echo,
    "/count": count_bytes,
    "/scope": describe,
    "/stream": stream,
    "/big": big,
    "/events": events,
    "/head-first": head_only_first,
    "/wait": wait_disconnect,
    "/slow": slow,
    "/forever": forever,
    "/stubborn": stubborn,
    "/blocking": blocking,
    "/background": background,
    "/crash": crash,
    "/crash-late": crash_late,
    "/bad-header": bad_header,
    "/no-answer": no_answer,
    "/early": early,
    "/empty": empty,
    "/own-id": own_id,
    "/who": who,
    "/exit": leave_now,
}


async def socket_menu(scope: Scope, receive: Any, send: Any) -> None:
    """WebSockets by path: /echo, /deny, /never (no answer to the handshake), /crash, /scope."""
    path = scope["path"]
    assert (await receive())["type"] == "websocket.connect"
    if path.endswith("/deny"):
        await send({"type": "websocket.close"})
        return
    if path.endswith("/never"):
        await asyncio.sleep(3600)
    if path.endswith("/crash"):
        raise ValueError("deliberate")
    await send({"type": "websocket.accept"})
    if path.endswith("/scope"):
        seen = [scope["scheme"], scope["root_path"], scope["path"], scope["query_string"].decode()]
        await send({"type": "websocket.send", "text": json.dumps(seen)})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            sys.stderr.write(f"websocket over {message.get('code')}\n")
            return
        text = message.get("text")
        await send({"type": "websocket.send", "text": f"echo {text}"})
