"""The control listener and clients that do not finish what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from snapfork.runner.services import heads
from snapfork.runner.services.main import Server, _config, tcp_listener
from starlette.types import Receive, Scope, Send

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(0.4 if scope["path"] == "/slow" else 0.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def with_server(test: Callable[[Connect], Awaitable[None]]) -> None:
    async def run() -> None:
        sock = tcp_listener("127.0.0.1", 0)
        server: uvicorn.Server = Server(_config(app))
        serving = asyncio.create_task(server.serve([sock]))
        while not server.started:
            await asyncio.sleep(0.005)
        host, port = sock.getsockname()[:2]
        try:
            await asyncio.wait_for(test(lambda: asyncio.open_connection(host, port)), 150)
        finally:
            server.should_exit = True
            await serving

    asyncio.run(run())


async def ended(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_a_head_has_its_time(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(heads, "HEAD_S", 0.2)

    async def test(connect: Connect) -> None:
        reader, writer = await connect()
        writer.write(said)
        answer = await ended(reader)
        assert answer == b""
        writer.close()

    with_server(test)


def test_answers_and_rests_between_requests_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_S", 0.2)

    async def test(connect: Connect) -> None:
        reader, writer = await connect()
        for path in (b"/slow", b"/"):
            writer.write(REQUEST.replace(b"/", path, 1))
            assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.4)
        writer.close()

    with_server(test)


def test_connections_have_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MOST", 3)

    async def test(connect: Connect) -> None:
        kept = [await connect() for _ in range(3)]
        reader, writer = await connect()
        assert await ended(reader) == b""
        writer.close()
        kept[0][1].write(REQUEST)
        await kept[0][0].readuntil(b"\r\n\r\nok")
        for _, one in kept:
            one.close()

    with_server(test)
