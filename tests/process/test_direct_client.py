"""The client of the gateway's direct listener, against a server with every way of ending."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from directserver import Asked, DirectServer, Reply
from snapfork.runner.invocations import direct, wire
from snapfork.runner.invocations.direct import DirectClient
from snapfork.runner.invocations.wire import TooMuch, Unreachable

CONTEXT = '{"id":"1"}'
Test = Callable[[DirectServer, DirectClient], Awaitable[None]]


def served(tmp_path: Path, test: Test, handler: object = None, limit: int = direct.LIMIT) -> None:
    async def run() -> None:
        path = str(tmp_path / "invoke.sock")
        async with DirectServer(path, handler) as server:  # type: ignore[arg-type]
            client = DirectClient(path, limit)
            try:
                await test(server, client)
            finally:
                await client.close()

    asyncio.run(run())


def test_a_request_and_its_answer(tmp_path: Path) -> None:
    async def test(server: DirectServer, client: DirectClient) -> None:
        body = bytes(range(256)) * 2000
        answer = await client.request(
            "shop:3",
            CONTEXT,
            target="/invoke?a=b",
            headers=[("X-Own", "é"), ("x-snapfork-unit", "evil:1")],
            body=body,
        )
        assert (answer.status, answer.body) == (200, body)
        assert (b"content-type", b"application/octet-stream") in answer.headers
        (asked,) = server.asked
        assert (asked.method, asked.target) == ("POST", "/invoke?a=b")
        assert asked.headers["x-snapfork-unit"] == "shop:3"
        assert asked.invocation == {"id": "1"}
        assert asked.headers["x-own"] == "é"
        assert asked.headers["host"] == "localhost"

    served(tmp_path, test)


@pytest.mark.parametrize("bad", [("x", "a\r\nb: c"), ("x\n", "a"), ("x", "a\0")])
def test_a_header_that_would_end_a_line_is_refused(tmp_path: Path, bad: tuple[str, str]) -> None:
    async def test(server: DirectServer, client: DirectClient) -> None:
        with pytest.raises(ValueError, match="line break"):
            await client.request("u", CONTEXT, headers=[bad])
        with pytest.raises(ValueError, match="line break"):
            await client.request("u", CONTEXT, target="/\r\nx: y")
        assert server.asked == []

    served(tmp_path, test)


def test_connections_are_kept_for_their_unit(tmp_path: Path) -> None:
    async def test(server: DirectServer, client: DirectClient) -> None:
        for _ in range(5):
            await client.request("a:1", CONTEXT)
            await client.request("b:1", CONTEXT)
        assert server.accepted == 2
        by_unit = {(one.headers["x-snapfork-unit"], one.connection) for one in server.asked}
        assert len(by_unit) == 2
        assert client.connections("a:1") == 1

    served(tmp_path, test)


def test_no_more_connections_than_the_limit_and_first_come_first_served(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def handler(asked: Asked) -> Reply:
        await gate.wait()
        return Reply(body=asked.body)

    async def test(server: DirectServer, client: DirectClient) -> None:
        tasks = [asyncio.create_task(client.request("u", CONTEXT, body=b"%d" % n)) for n in range(20)]
        while len(server.asked) < 3:
            await asyncio.sleep(0.001)
        cancelled = tasks[5]
        cancelled.cancel()
        gate.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one.body for n, one in enumerate(answers) if n != 5] == [
            b"%d" % n for n in range(20) if n != 5
        ]  # type: ignore[union-attr]
        assert isinstance(answers[5], asyncio.CancelledError)
        assert server.accepted == 3
        order = [int(one.body) for one in server.asked]
        assert order == sorted(order)

    served(tmp_path, test, handler, limit=3)


def test_cancelling_drops_the_connection(tmp_path: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    async def test(server: DirectServer, client: DirectClient) -> None:
        task = asyncio.create_task(client.request("u", CONTEXT))
        while not server.asked:
            await asyncio.sleep(0.001)
        task.cancel()
        await server.lost.wait()
        with pytest.raises(TimeoutError):
            await client.request("u", CONTEXT, timeout=0.05)
        while server.connections:
            await asyncio.sleep(0.001)
        while client.connections("u"):
            await asyncio.sleep(0.001)

    served(tmp_path, test, handler)


def test_a_connection_that_ends_with_its_answer_is_not_used_again(tmp_path: Path) -> None:
    async def handler(asked: Asked) -> Reply:
        return Reply(body=b"x", close=asked.connection % 2 == 1)

    async def test(server: DirectServer, client: DirectClient) -> None:
        for _ in range(6):
            assert (await client.request("u", CONTEXT)).body == b"x"
        assert [one.connection for one in server.asked] == [1, 2, 2, 2, 2, 2]

    served(tmp_path, test, handler)


def test_a_kept_connection_that_was_closed_unread_is_replaced(tmp_path: Path) -> None:
    """The server closes while the request is on its way: nobody has read it, so it is sent again."""

    async def run() -> None:
        path = str(tmp_path / "invoke.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(5)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        client = DirectClient(path)
        first = asyncio.create_task(client.request("u", CONTEXT, body=b"1"))
        peer, _ = await loop.sock_accept(listener)
        await loop.sock_recv(peer, 65536)
        await loop.sock_sendall(peer, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na")
        assert (await first).body == b"a"
        second = asyncio.create_task(client.request("u", CONTEXT, body=b"2"))
        await asyncio.sleep(0)
        while not _unread(peer):
            await asyncio.sleep(0.001)
        peer.close()  # with the request in its buffer
        other, _ = await loop.sock_accept(listener)
        assert b"\r\n\r\n2" in await loop.sock_recv(other, 65536)
        await loop.sock_sendall(other, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb")
        assert (await second).body == b"b"

        third = asyncio.create_task(client.request("u", CONTEXT, body=b"3"))
        await loop.sock_recv(other, 65536)
        other.close()  # it was read: nobody knows what became of it
        with pytest.raises(Unreachable) as caught:
            await third
        assert not caught.value.untouched
        listener.close()
        await client.close()

    asyncio.run(run())


def _unread(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def test_an_answer_that_was_begun_is_never_asked_for_again(tmp_path: Path) -> None:
    async def handler(asked: Asked) -> Reply:
        return Reply(body=b"half", cut=asked.number > 1)

    async def test(server: DirectServer, client: DirectClient) -> None:
        await client.request("u", CONTEXT)
        with pytest.raises(Unreachable):
            await client.request("u", CONTEXT)
        assert len(server.asked) == 2

    served(tmp_path, test, handler)


def test_without_a_gateway_it_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        client = DirectClient(str(tmp_path / "nobody.sock"), patience=0.05)
        with pytest.raises(Unreachable, match="cannot be reached") as caught:
            await client.request("u", CONTEXT)
        assert caught.value.untouched
        assert client.connections("u") == 0
        await client.close()

    asyncio.run(run())


def test_a_listener_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    async def run() -> None:
        path = str(tmp_path / "late.sock")
        client = DirectClient(path, patience=60.0)
        asked = [asyncio.create_task(client.request("u", CONTEXT, body=b"%d" % n)) for n in range(20)]
        await asyncio.sleep(0)
        async with DirectServer(path):
            assert [one.body for one in await asyncio.gather(*asked)] == [b"%d" % n for n in range(20)]
            await client.close()

    asyncio.run(run())


def test_nonsense_is_no_answer(tmp_path: Path) -> None:
    async def run() -> None:
        path = str(tmp_path / "s")
        async with DirectServer(path, plain=b"220 smtp.example ESMTP\r\n"):
            client = DirectClient(path)
            with pytest.raises(Unreachable, match="no HTTP"):
                await client.request("u", CONTEXT)
            await client.close()

    asyncio.run(run())


def test_an_answer_above_the_limit(tmp_path: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        return Reply(body=b"x" * 1001)

    async def test(_server: DirectServer, client: DirectClient) -> None:
        with pytest.raises(TooMuch):
            await client.request("u", CONTEXT, limit=1000)
        assert len((await client.request("u", CONTEXT, limit=1001)).body) == 1001

    served(tmp_path, test, handler)


@pytest.mark.parametrize("close", [False, True])
def test_chunks_and_answers_without_a_length(tmp_path: Path, close: bool) -> None:
    chunks = [os.urandom(1 + number * 1000) for number in range(40)]

    async def handler(_asked: Asked) -> Reply:
        return Reply(chunks=chunks, close=close)

    async def test(_server: DirectServer, client: DirectClient) -> None:
        assert (await client.request("u", CONTEXT)).body == b"".join(chunks)
        stream = await client.stream("u", CONTEXT)
        assert stream.status == 200
        assert await stream.read(1 << 20) == b"".join(chunks)
        assert (await client.request("u", CONTEXT)).body == b"".join(chunks)

    served(tmp_path, test, handler)


def test_a_stream_comes_while_it_is_made_and_is_not_hoarded(tmp_path: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        return Reply(chunks=[b"x" * 65536] * 200)

    async def test(server: DirectServer, client: DirectClient) -> None:
        stream = await client.stream("u", CONTEXT)
        pieces = aiter(stream)
        size = len(await anext(pieces))
        for _ in range(50):
            await asyncio.sleep(0)
        assert stream._wire is not None
        assert stream._wire._size <= wire.HIGH_WATER + (1 << 20)
        async for piece in pieces:
            size += len(piece)
        assert size == 200 * 65536
        assert client.connections("u") == 1
        await client.request("u", CONTEXT)
        assert server.accepted == 1

    served(tmp_path, test, handler)


def test_a_stream_that_is_left_drops_its_connection(tmp_path: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        return Reply(chunks=[b"x" * 65536] * 200)

    async def test(server: DirectServer, client: DirectClient) -> None:
        stream = await client.stream("u", CONTEXT)
        async for _ in stream:
            break
        stream.close()
        await server.lost.wait()

    served(tmp_path, test, handler)


def test_an_answer_to_head_has_no_body(tmp_path: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        return Reply(body=b"not sent")

    async def test(_server: DirectServer, client: DirectClient) -> None:
        for _ in range(2):
            answer = await client.request("u", CONTEXT, method="HEAD", target="/")
            assert (answer.status, answer.body) == (200, b"")

    served(tmp_path, test, handler)
