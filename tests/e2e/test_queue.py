"""Requests that wait: the time they waited counts, and nobody works for clients that have gone."""

from __future__ import annotations

import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import Serve

APP = """
import time
from pathlib import Path

HERE = Path(__file__).parent

def app(environ, start_response):
    path = environ["PATH_INFO"]
    write = start_response("200 OK", [])
    if path == "/stream":
        write(b"begun ")
        while not (HERE / "go").exists():
            time.sleep(0.01)
    elif path == "/count":
        with open(HERE / "count", "a") as file:
            file.write("x")
    elif path == "/slow":
        time.sleep(1.5)
    return [b"done"]
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "queued.py").write_text(APP)
    return tmp_path


def begin_stream(server: Serve) -> socket.socket:
    """A response that has begun and ends with the file `go`: the function's only instance is busy."""
    sock = server.raw()
    sock.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    received = b""
    while b"begun" not in received:
        received += sock.recv(65536)
    return sock


def test_the_timeout_runs_out_in_the_queue(here: Path) -> None:
    with Serve("queued:app", "--max-instances=1", "--timeout=1", app_dir=here) as server:
        stream = begin_stream(server)
        answer = server.get("/")
        assert answer.status == 504
        assert "did not answer within 1 s" in answer.text
        assert server.function()["deaths"] == {}
        (here / "go").touch()
        assert b"done" in stream.recv(65536)
        stream.close()


def test_the_time_in_the_queue_counts(here: Path) -> None:
    with Serve("queued:app", "--max-instances=1", "--timeout=2", app_dir=here) as server:
        stream = begin_stream(server)
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(server.get, "/slow")
            server.wait_until(lambda one: one["queue"]["length"] == 1)
            time.sleep(1)  # which leaves less than the app takes
            (here / "go").touch()
            assert asked.result().status == 504
        stream.close()


@pytest.mark.parametrize("over", ["tcp", "unix"])
def test_requests_of_clients_that_have_gone_are_not_run(over: str, here: Path) -> None:
    words = (f"--uds={here / 'http'}",) if over == "unix" else ()
    with Serve("queued:app", "--max-instances=1", *words, app_dir=here) as server:
        stream = begin_stream(server)
        gone = [server.raw() for _ in range(5)]
        stays = server.raw()
        for number, sock in enumerate([*gone, stays]):
            sock.sendall(b"GET /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            server.wait_until(lambda one, count=number + 1: one["queue"]["length"] == count)
        stays.shutdown(socket.SHUT_WR)  # it still waits for its answer
        for sock in gone:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        time.sleep(0.1)  # nobody is taken for gone sooner
        (here / "go").touch()
        assert b"done" in stays.makefile("rb").read()
        assert (here / "count").read_text() == "x"
        server.wait_until(lambda one: one["queue"]["length"] == 0)
        stays.close()
        stream.close()
