"""Requests that a template sends to itself, and access lines."""

from __future__ import annotations

import fcntl
import json
import os

import pytest
from snapfork.runner.http.head import Head, parse_head
from snapfork.runner.processes import wsgi_loop
from snapfork.runner.processes.access import MAX_LINE, AccessLog
from wsgiapps import menu
from wsgiserved import make_served

CLIENT = ("10.0.0.1", 99)


def private(path: bytes, lines: bytes = b"", body: bytes = b"") -> bytes:
    raw = b"POST %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s" % (path, lines, body)
    return wsgi_loop.private(make_served(menu), raw)


def test_a_private_request() -> None:
    descriptors = os.listdir("/proc/self/fd")
    answer = private(b"/echo", b"Content-Length: 3\r\n", b"abc")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\nabc")
    assert os.listdir("/proc/self/fd") == descriptors


def test_a_private_request_can_be_told_from_others() -> None:
    found = json.loads(private(b"/describe").partition(b"\r\n\r\n")[2])
    assert found["snapfork.warm_up"] is True


def test_a_private_answer_larger_than_the_buffers() -> None:
    assert private(b"/big").endswith(b"0123456789" * 2_000_000)


def test_a_private_body_that_is_shorter_than_announced_ends() -> None:
    assert private(b"/echo", b"Content-Length: 9\r\n", b"abc").endswith(b"\r\n\r\nabc")


@pytest.mark.parametrize("path", [b"/boom", b"/goodbye"])
def test_a_private_failure(path: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert private(path).startswith(b"HTTP/1.1 500 ")
    assert "Traceback" in capsys.readouterr().err


# -- access lines ----------------------------------------------------------------------------------------


def head(target: bytes = b"/a?b") -> Head:
    return parse_head(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")


def logged(mode: str, target: bytes = b"/a?b", request_id: str = "id", start: str = "") -> str:
    read, write = os.pipe()
    log = AccessLog(write, mode, "shop")
    log.line(CLIENT, head(target), 200, 5, 1_234_567, request_id, start)
    os.close(write)
    if log.fd != write:
        os.close(log.fd)
    with os.fdopen(read) as file:
        return file.read()


def test_text_line() -> None:
    line = logged("text", start="fork")
    assert line.endswith(' shop 10.0.0.1 "GET /a?b HTTP/1.1" 200 5 1.2ms fork id\n')


def test_json_line() -> None:
    entry = json.loads(logged("json", start="spare"))
    del entry["time"]
    assert entry == {
        "event": "request",
        "function": "shop",
        "client": "10.0.0.1",
        "method": "GET",
        "target": "/a?b",
        "version": "1.1",
        "status": 200,
        "bytes": 5,
        "ms": 1.235,
        "request_id": "id",
        "start": "spare",
    }


@pytest.mark.parametrize("mode", ["text", "json"])
def test_nothing_that_a_client_sends_makes_a_second_line_or_an_unreadable_one(mode: str) -> None:
    line = logged(mode, b'/"\\', 'x"\u0085\u009b y')
    assert line.count("\n") == 1 and line.isascii()
    if mode == "text":
        assert '"GET /\\"\\\\ HTTP' in line and line.endswith(' x\\"\\x85\\x9b y\n')
    else:
        assert json.loads(line)["request_id"] == 'x"\u0085\u009b y'


@pytest.mark.parametrize("mode", ["text", "json"])
@pytest.mark.parametrize("target", [b"/" + b"a" * 60000, b"/" + b'"' * 60000])
def test_lines_are_bounded_and_keep_their_end(mode: str, target: bytes) -> None:
    line = logged(mode, target, "\u00ff" * 200)
    assert len(line.encode()) <= MAX_LINE and line.endswith("\n")
    assert json.loads(line)["status"] == 200 if mode == "json" else '" 200 5 ' in line


@pytest.mark.parametrize("mode", ["text", "json"])
def test_a_full_pipe_drops_lines_and_says_how_many(mode: str) -> None:
    read, write = os.pipe()
    size = fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    log = AccessLog(write, mode, "shop")
    while not log.dropped:
        log.line(CLIENT, head(), 200, 5, 1, "id")
    log.line(CLIENT, head(), 200, 5, 1, "id")
    os.read(read, size)
    log.line(CLIENT, head(), 200, 5, 1, "id")
    told, line = os.read(read, size).decode().splitlines()
    assert "2" in told and "dropped" in told and "id" in line and log.dropped == 0
    os.close(read)
    os.close(write)
    os.close(log.fd)


def test_nothing_is_written_when_off() -> None:
    AccessLog(-1, "off").line(CLIENT, head(), 200, 5, 1, "id")
