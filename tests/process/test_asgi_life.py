"""Timeouts, leaving, streams at the drain deadline, WebSockets and the scoreboard of the ASGI loop."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import pytest
from asgiapps import menu
from asgilender import Client, Lender
from asgiserved import make_served
from snapfork.runner.processes import asgi_host, asgi_loop
from snapfork.runner.processes.link import END, KEEP
from snapfork.runner.wire import page
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri


def get(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a.example", *lines, "", ""]).encode()


class Talk:
    """The client's side of a WebSocket over a lent connection."""

    def __init__(self, lender: Lender, path: str, **options: Any) -> None:
        self.protocol = ClientProtocol(parse_uri(f"ws://a.example{path}"))
        self.protocol.send_request(self.protocol.connect())
        self.client: Client = lender.lend(b"".join(self.protocol.data_to_send()), **options)
        self.events: list[Any] = []
        self.response = self.event()

    def event(self) -> Any:
        while True:
            self.events += self.protocol.events_received()
            if self.events:
                return self.events.pop(0)
            data = self.client.sock.recv(65536)
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
                if self.protocol.handshake_exc is not None:
                    raise self.protocol.handshake_exc

    def say(self, text: str) -> None:
        self.protocol.send_text(text.encode())
        self.client.send(b"".join(self.protocol.data_to_send()))

    def hear(self) -> str:
        event = self.event()
        assert isinstance(event, Frame) and event.opcode is Opcode.TEXT, event
        return bytes(event.data).decode()

    def closes(self) -> int:
        """Code of the close frame that comes next."""
        event = self.event()
        assert isinstance(event, Frame) and event.opcode is Opcode.CLOSE, event
        assert self.protocol.close_rcvd is not None
        return self.protocol.close_rcvd.code


def long_asked() -> int:
    """When a request came in that is overdue by now, of a minute's timeout that no other passes."""
    return time.monotonic_ns() - 61 * 10**9


def test_overdue_request_gets_504_and_its_neighbours_go_on() -> None:
    with Lender(menu, timeout=60) as lender:
        stream = lender.lend(get("/events"))
        stream.until(b"first\n\n")
        late = lender.lend(get("/forever"), t0_ns=long_asked())
        status, headers, body = late.response()
        assert status == 504
        assert json.loads(body)["error"]["request_id"] == headers["x-request-id"]
        assert lender.returned().how == END
        fine = lender.lend(get("/"))
        assert fine.response()[2] == b"hello"
        lender.wait_word(page.W_BUSY, 1)
        assert lender.word(page.W_STATUS + 4) == 1


def test_the_timeout_began_in_the_gateway() -> None:
    with Lender(menu, timeout=60) as lender:
        assert lender.lend(get("/forever"), t0_ns=long_asked()).response()[0] == 504
        lender.wait_bye()


def test_lone_overdue_request_takes_its_instance_with_it() -> None:
    with Lender(menu, timeout=0.3) as lender:
        assert lender.lend(get("/forever")).response()[0] == 504
        lender.wait_bye()
        assert lender.exit_code() == 0


def test_task_that_does_not_end_is_abandoned() -> None:
    with Lender(menu, timeout=60) as lender:
        stream = lender.lend(get("/events"))
        stream.until(b"first\n\n")
        assert lender.lend(get("/stubborn"), t0_ns=long_asked()).response()[0] == 504
        lender.returned()
        stream.close()
        lender.wait_bye()


def test_overdue_websocket_handshake() -> None:
    with Lender(menu, timeout=0.3) as lender:
        client = lender.lend(
            get("/never", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        )  # fmt: skip
        assert client.response()[0] == 504
        lender.wait_bye()


def test_timeout_is_the_gateways_with_one_request_at_a_time() -> None:
    with Lender(menu, timeout=0.1, concurrency=1) as lender:
        assert lender.lend(get("/slow")).response()[2] == b"slow"


def test_streams_outlive_the_timeout() -> None:
    with Lender(menu, timeout=2) as lender:
        talk = Talk(lender, "/echo")
        stream = lender.lend(get("/events"))
        stream.until(b"first\n\n")
        assert lender.lend(get("/forever")).response()[0] == 504  # at least one timeout later
        talk.say("a")
        assert talk.hear() == "echo a"
        assert lender.word(page.W_STREAMS) == 1


def test_websocket() -> None:
    with Lender(menu) as lender:
        talk = Talk(lender, "/scope?x=1")
        assert isinstance(talk.response, Response)
        assert talk.response.status_code == 101
        assert talk.response.headers["X-Request-Id"]
        assert talk.response.headers["Server"] == "snapfork"
        assert json.loads(talk.hear()) == ["ws", "", "/scope", "x=1"]
        talk.say("hi")
        assert talk.hear() == "echo hi"
        talk.protocol.send_close(1000)
        talk.client.send(b"".join(talk.protocol.data_to_send()))
        assert talk.closes() == 1000
        assert lender.returned().how == END
        lender.wait_word(page.W_BUSY, 0)
        assert lender.word(page.W_STREAMS) == 0
        assert "websocket over 1000" in lender.errors()


def test_websocket_that_the_app_denies() -> None:
    with Lender(menu) as lender:
        client = lender.lend(
            get("/deny", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        )  # fmt: skip
        status, headers = client.head()
        assert status == 403
        assert headers["x-request-id"]
        assert lender.returned().how == END


def test_websocket_whose_client_vanishes() -> None:
    with Lender(menu) as lender:
        talk = Talk(lender, "/echo")
        talk.client.close()
        assert lender.returned().how == END
        lender.wait_word(page.W_BUSY, 0)


def test_websocket_under_a_mount() -> None:
    routes = [{"host": None, "prefix": "/app", "function": "app"}]
    with Lender(menu, routes=routes) as lender:
        talk = Talk(lender, "/app/scope")
        assert json.loads(talk.hear())[1:3] == ["/app", "/app/scope"]


def test_broken_handshake_is_answered() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/echo", "Upgrade: websocket", "Connection: Upgrade"))
        assert client.head()[0] == 400
        assert lender.returned().how == END
        lender.wait_word(page.W_BUSY, 0)


def test_leaving_returns_idle_loans_at_once_and_busy_ones_at_the_boundary() -> None:
    with Lender(menu) as lender:
        idle = lender.lend(get("/"))
        idle.response()
        busy = lender.lend(get("/slow"))
        lender.wait_word(page.W_STARTED, 2)
        lender.leave()
        assert lender.returned().how == KEEP
        unread = lender.lend(get("/"))
        assert lender.returned(2).leftover == get("/")
        assert busy.response()[2] == b"slow"
        assert lender.returned(3).how == KEEP
        lender.wait_bye()
        assert unread.rest == b""


def test_leaving_waits_for_background_work() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/background"), sticky=False)
        assert client.response()[2] == b"done"
        lender.returned()
        lender.leave()
        lender.wait_bye()
        assert "background over" in lender.errors()


def test_client_does_not_wait_for_background_work() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/background"))
        client.response()
        client.send(get("/"))
        assert client.response()[2] == b"hello"
        assert "background over" not in lender.errors()
        lender.wait_word(page.W_BUSY, 1)
        lender.wait_word(page.W_BUSY, 0)
        assert lender.word(page.W_DONE) == 2


def test_demand_and_reload_end_stickiness() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/"))
        client.response()
        lender.words[page.W_DEMAND] = 1
        lender.recall()
        assert lender.returned().how == KEEP
        lender.words[page.W_DEMAND] = 0
        lender.words[page.W_GENERATION] = 2
        client = lender.lend(get("/") + get("/slow"))
        assert client.response()[2] == b"hello"
        assert lender.returned(2).leftover == get("/slow")


def test_drain_deadline_cuts_streams_and_websockets() -> None:
    with Lender(menu) as lender:
        talk = Talk(lender, "/echo")
        stream = lender.lend(get("/events"))
        stream.until(b"first\n\n")
        unbegun = lender.lend(get("/slow"))
        stuck = lender.lend(get("/forever"))
        lender.wait_word(page.W_BUSY, 4)
        lender.leave(2)
        assert talk.closes() == 1012
        assert unbegun.response()[2] == b"slow"
        assert stuck.response()[0] == 503
        lender.wait_bye()
        assert lender.word(page.W_CUT) == 2
        assert len(lender.back) == 4


def test_drain_deadline_with_a_client_that_does_not_read() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/big"))
        client.head()
        lender.leave(2)
        lender.wait_bye()
        assert lender.back[0].how == END


def test_max_requests() -> None:
    with Lender(menu, max_requests=2) as lender:
        client = lender.lend(get("/") + get("/") + get("/"))
        assert [client.response()[2] for _ in range(2)] == [b"hello"] * 2
        back = lender.returned()
        assert (back.how, back.leftover, back.requests) == (KEEP, get("/"), 2)
        lender.wait_bye()


def test_boundary_is_published_with_exact_totals() -> None:
    with Lender(menu) as lender:
        client = lender.lend(get("/"))
        client.response()
        client.send(get("/big"))
        client.response()
        base = page.W_SLOTS
        lender.wait_word(base + page.S_STATE, page.BOUNDARY)
        assert lender.word(base + page.S_CONSUMED) == len(get("/big"))
        back = lender.returned()
        assert back.written == lender.word(base + page.S_WRITTEN) > 16 << 20


def test_heartbeat_and_waiting_word() -> None:
    with Lender(menu) as lender:
        lender.lend(get("/forever"))
        lender.wait_word(page.W_BUSY, 1)
        while not lender.word(page.W_WAITING):  # it is noted a moment after the request has begun
            time.sleep(0.001)
        beat = lender.word(page.W_HEARTBEAT)
        stream = lender.lend(get("/slow"))
        stream.response()
        assert lender.word(page.W_HEARTBEAT) > beat > 0
        assert lender.word(page.W_WAITING) > 0


def test_thirty_two_requests_at_once() -> None:
    with Lender(menu) as lender:
        clients = [lender.lend(get("/slow")) for _ in range(32)]
        assert [client.response()[2] for client in clients] == [b"slow"] * 32
        lender.wait_word(page.W_DONE, 32)


def test_gateway_gone() -> None:
    with Lender(menu) as lender:
        lender.lend(get("/forever"))
        lender.wait_word(page.W_BUSY, 1)
        lender.control.close()
        assert lender.exit_code() == 0


async def counted(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        scope["state"]["made"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        os.write(2, b"shut down\n")
        await send({"type": "lifespan.shutdown.complete"})
        return
    await menu(scope, receive, send)


def test_lifespan_of_the_instance() -> None:
    with Lender(counted, lifespan=True) as lender:
        client = lender.lend(get("/scope"))
        assert json.loads(client.response()[2])["state"] == ["kept", "made"]
        assert lender.is_ready or lender.returned()
        lender.leave()
        lender.wait_bye()
        assert lender.is_ready
        assert "shut down" in lender.errors()


def test_private_request_that_is_given_up_leaves_nothing_running() -> None:
    async def give_up() -> set[str]:
        served = make_served(menu, page.private_page())
        before = asyncio.all_tasks()
        request = asyncio.ensure_future(asgi_loop.private(served, get("/forever")))
        await asyncio.wait({request}, timeout=0.05)
        request.cancel()
        await asyncio.wait({request})
        return {repr(task) for task in asyncio.all_tasks() - before}

    assert asyncio.run(give_up()) == set()


@pytest.mark.parametrize("path", ["/", "/stream", "/background"])
def test_private_request(path: str) -> None:
    served = make_served(menu, page.private_page())
    response = asyncio.run(asgi_loop.private(served, get(path)))
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")


def test_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_host, "STALLED_NS", 300_000_000)
    with Lender(menu) as lender:
        client = lender.lend(get("/big"))
        client.head()
        assert lender.returned().how == END
        lender.wait_word(page.W_BUSY, 0)
        assert lender.lend(get("/")).response()[2] == b"hello"
