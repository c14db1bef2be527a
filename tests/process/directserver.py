"""A stand-in for the gateway's direct listener: HTTP/1.1 over a Unix socket, with every way of ending."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httptools


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    number: int
    """Of the request on its connection, from 1."""

    @property
    def invocation(self) -> dict[str, Any]:
        return dict(json.loads(self.headers["x-snapfork-invocation"]))


@dataclass
class Reply:
    """What is answered. chunks: sent one by one as a chunked answer. close: the connection ends after it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] | None = None
    close: bool = False
    cut: bool = False
    """End in the middle of the body."""


Handler = Callable[[Asked], Awaitable[Reply | None]]


class _Connection(asyncio.Protocol):
    def __init__(self, server: DirectServer) -> None:
        self.server = server
        self.number = 0
        server.accepted += 1
        self.id = server.accepted
        self.gone = asyncio.Event()
        self.parser = httptools.HttpRequestParser(self)
        self._fresh()

    def _fresh(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.gone.set()
        self.server.connections.discard(self)
        self.server.lost.set()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.number += 1
        method = self.parser.get_method().decode()
        asked = Asked(method, self.url.decode(), self.headers, self.body, self.id, self.number)
        self._fresh()
        if self.server.plain is not None:
            self.transport.write(self.server.plain)
            self.server.count += 1
            return
        self.server.asked.append(asked)
        task = asyncio.ensure_future(self._answer(asked))
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def _answer(self, asked: Asked) -> None:
        reply = await self.server.handler(asked)
        if reply is None:
            self.transport.abort()
            return
        headers = dict(reply.headers)
        if reply.chunks is None:
            headers["content-length"] = str(len(reply.body) + (10 if reply.cut else 0))
        elif not reply.close:
            headers["transfer-encoding"] = "chunked"
        if reply.close:
            headers["connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode())
        if reply.chunks is None:
            self.transport.write(b"" if asked.method == "HEAD" else reply.body)
        for chunk in reply.chunks or ():
            framed = chunk if reply.close else b"%x\r\n%s\r\n" % (len(chunk), chunk)
            self.transport.write(framed)
            await asyncio.sleep(0)
        if reply.chunks is not None and not reply.close and not reply.cut:
            self.transport.write(b"0\r\n\r\n")
        if reply.close or reply.cut:
            self.transport.close()


class DirectServer:
    """`async with DirectServer(path, handler)`: serves until the end. plain: bytes that answer everything."""

    def __init__(self, path: str, handler: Handler | None = None, plain: bytes | None = None) -> None:
        self.path = path
        self.handler = handler or self._echo
        self.plain = plain
        self.asked: list[Asked] = []
        self.accepted = 0
        self.count = 0
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Future[None]] = set()
        self.lost = asyncio.Event()

    async def _echo(self, asked: Asked) -> Reply:
        return Reply(body=asked.body, headers={"content-type": "application/octet-stream"})

    async def __aenter__(self) -> DirectServer:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), self.path, backlog=1024)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()
