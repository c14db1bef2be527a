"""Clients that leave: the app sees it, its instance is free again, and nobody else is touched."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
RESET = struct.pack("ii", 1, 0)
"""Linger of no time: close() resets the connection."""


def leave(sock: socket.socket, how: str) -> None:
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(
    ("target", "path"),
    [("asgi_app:app", "/gone"), ("asgi_app:app", "/gone?begun=1"), ("wsgi_app:app", "/gone")],
)
def test_the_app_sees_that_its_client_has_left(target: str, path: str, how: str) -> None:
    with Serve(target, "--spares=0", "--max-instances=1", "--concurrency=1", app_dir=APPS) as server:
        for later in (False, True):
            before = len(server.output)
            sock = server.raw()
            if later:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode())
            server.wait_for("waiting for the client to leave", before)
            leave(sock, how)
            server.wait_for("the client has left", before)
            assert server.get("/").status == 200
        assert server.function()["deaths"] == {}


@pytest.fixture(scope="module", params=["asgi_app:app", "wsgi_app:app"])
def alone(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """One instance that takes one request at a time."""
    words = ("--spares=0", "--max-instances=1", "--concurrency=1", "--head-timeout=600")
    with Serve(request.param, *words, app_dir=APPS) as server:
        yield server


def nothing_left(function: dict[str, Any]) -> bool:
    return not function["deaths"] and all(
        not one["loans"] and not one["busy"] for one in function["instances"]
    )


def until_connections(server: Serve, count: int) -> None:
    server.wait_until(lambda _: server.status()["connections"]["total"] == count)


PARTS = {
    "nothing": b"",
    "half a head": b"GET / HT",
    "half a body": b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    "half a long body": b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nabc",
    "half a chunk": b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "a request": b"GET /download?bytes=9000000 HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize("sent", PARTS.values(), ids=PARTS.keys())
def test_clients_that_leave_in_the_middle_cost_nothing(alone: Serve, sent: bytes, how: str) -> None:
    for _ in range(20):
        sock = alone.raw()
        sock.sendall(sent)
        leave(sock, how)
    assert alone.get("/").status == 200
    alone.wait_until(nothing_left)
    until_connections(alone, 0)


@pytest.mark.parametrize("sent", [b"\r\n", PARTS["half a head"], PARTS["half a body"]])
def test_bytes_and_a_reset_that_come_at_once(alone: Serve, sent: bytes) -> None:
    """An event loop may tell of them together, and of nothing afterwards."""
    until_connections(alone, 0)
    sock = alone.raw()
    until_connections(alone, 1)
    os.kill(alone.process.pid, signal.SIGSTOP)
    sock.sendall(sent)
    leave(sock, "reset")
    os.kill(alone.process.pid, signal.SIGCONT)
    until_connections(alone, 0)


def test_a_client_that_leaves_the_queue_costs_nothing(alone: Serve) -> None:
    busy, waiting = alone.raw(), alone.raw()
    busy.sendall(b"GET /slow?seconds=0.5 HTTP/1.1\r\nHost: a.example\r\n\r\n")
    alone.wait_until(lambda one: any(i["state"] == "busy" for i in one["instances"]))
    waiting.sendall(b"GET /pid HTTP/1.1\r\nHost: a.example\r\n\r\n")
    alone.wait_until(lambda one: one["queue"]["length"] == 1)
    leave(waiting, "reset")
    assert busy.recv(4096).startswith(b"HTTP/1.1 200")
    busy.close()
    assert alone.get("/").status == 200
    alone.wait_until(nothing_left)
