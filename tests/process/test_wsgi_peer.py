"""One table of requests: the same app answers the same under gunicorn."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from minigateway import PATIENCE, Client
from snapfork.runner.processes.link import END
from wsgiapps import menu
from wsgiserved import WsgiGateway

HERE = Path(__file__).parent


class Answer(NamedTuple):
    """What must be equal: not the framing, nor what a server adds."""

    status: int
    headers: dict[str, str]
    body: bytes
    goes_on: bool


OURS = {"date", "server", "connection", "x-request-id", "transfer-encoding", "content-length"}


@pytest.fixture(scope="module")
def peer() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        number = listener.fileno()
        command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "2", "-w", "1"]
        command += ["--bind", f"fd://{number}", "--no-control-socket", "wsgiapps:menu"]
        process = subprocess.Popen(
            command, cwd=HERE, pass_fds=[number], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def gateway() -> Iterator[WsgiGateway]:
    with WsgiGateway(menu) as one:
        yield one


def read(client: Client, method: bytes) -> Answer:
    head_only = method == b"HEAD"
    status, headers = client.head()
    bodiless = head_only or status in (204, 304)
    close = headers.get("connection") == "close"
    if bodiless:
        body = b""
    elif "content-length" in headers or "transfer-encoding" in headers:
        body = client.body(headers)
    else:
        body = client.everything()
    kept = {name: value for name, value in headers.items() if name not in OURS}
    return Answer(status, kept, body, not close)


def ask(gateway: WsgiGateway, raw: bytes, method: bytes) -> Answer:
    client = gateway.lend(raw)
    number = gateway.number
    if b" HTTP/1.0" in raw and gateway.return_of(number).how == END:
        gateway.end(number)
    return read(client, method)


def request(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([start, b"Host: app.example", *lines, b"", body])


# Left out, because gunicorn does otherwise than PEP 3333 says: start_response after an empty first piece,
# Content-Length replaced through exc_info, a file wrapper over a file that has been read from.
TABLE = [
    request(b"GET /hello?a=b HTTP/1.1"),
    request(b"GET /hello?a=b HTTP/1.0"),
    request(b"GET /hello HTTP/1.1", b"Connection: close"),
    request(b"HEAD /hello HTTP/1.1"),
    request(b"HEAD /file/whole HTTP/1.1"),
    request(b"GET /two HTTP/1.1"),
    request(b"GET /two HTTP/1.0"),
    request(b"GET /empty HTTP/1.1"),
    request(b"GET /emptystream HTTP/1.1"),
    request(b"GET /write HTTP/1.1"),
    request(b"GET /writelength HTTP/1.1"),
    request(b"GET /more HTTP/1.1"),
    request(b"GET /status/204 HTTP/1.1"),
    request(b"GET /status/304 HTTP/1.1"),
    request(b"GET /status/404 HTTP/1.1"),
    request(b"GET /closing HTTP/1.1"),
    request(b"GET /file/whole HTTP/1.1"),
    request(b"GET /file/empty HTTP/1.1"),
    request(b"GET /file/memory HTTP/1.1"),
    request(b"GET http://app.example/hello?absolute HTTP/1.1"),
    request(b"GET /hello%20?%20 HTTP/1.1"),
    request(b"OPTIONS /hello HTTP/1.1"),
    request(b"DELETE /hello HTTP/1.1"),
    request(b"POST /echo HTTP/1.1", b"Content-Length: 3", body=b"abc"),
    request(b"PUT /echo HTTP/1.1", b"Content-Length: 0"),
    request(b"POST /echo HTTP/1.1"),
    request(
        b"POST /echo HTTP/1.1",
        b"Transfer-Encoding: chunked",
        body=b"2\r\nab\r\n1;x\r\nc\r\n0\r\nA: b\r\n\r\n",
    ),
    request(b"POST /readers HTTP/1.1", b"Content-Length: 17", body=b"ab\ncdefg\nhi\njk\nlm"),
    request(b"POST /duplex HTTP/1.1", b"Content-Length: 2", body=b"ab"),
    request(b"GET /boom HTTP/1.1"),
    request(b"GET /big HTTP/1.1"),
]


@pytest.mark.parametrize(
    "raw", TABLE, ids=[one.partition(b"\r\n")[0].decode() + f" {len(one)}" for one in TABLE]
)
def test_the_same_answer(peer: tuple[str, int], gateway: WsgiGateway, raw: bytes) -> None:
    method = raw.partition(b" ")[0]
    ours = ask(gateway, raw, method)
    with socket.create_connection(peer, timeout=PATIENCE) as sock:
        sock.sendall(raw)
        theirs = read(Client(sock), method)
    assert ours.status == theirs.status
    assert ours.goes_on == theirs.goes_on
    if ours.status != 500:  # each server has its own page
        assert (ours.headers, ours.body) == (theirs.headers, theirs.body)


ENVIRON = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "RAW_URI",
    "HTTP_HOST",
    "HTTP_X_A",
    "HTTP_COOKIE",
    "HTTP_X_UNDER",
    "wsgi.url_scheme",
    "wsgi.run_once",
    "wsgi.input_terminated",
]


@pytest.mark.parametrize(
    "raw",
    [
        request(b"GET /describe/caf%C3%A9//x?a=%20b&&c HTTP/1.1", b"X-A: 1", b"x-a: 2", b"Cookie: a=1"),
        request(b"POST /describe HTTP/1.1", b"Content-Length: 2", b"Content-Type: text/x; y=z", body=b"ab"),
        request(b"GET /describe?x HTTP/1.0"),
        request(b"GET /describe HTTP/1.1", b"X_Under: 1"),
        request(b"GET /describe HTTP/1.1", b"X-Forwarded-Proto: https"),
    ],
)
def test_the_same_environ(peer: tuple[str, int], gateway: WsgiGateway, raw: bytes) -> None:
    ours = json.loads(read(gateway.lend(raw), b"GET").body)
    with socket.create_connection(peer, timeout=PATIENCE) as sock:
        sock.sendall(raw)
        theirs = json.loads(read(Client(sock), b"GET").body)
    assert [(name, ours.get(name)) for name in ENVIRON] == [(name, theirs.get(name)) for name in ENVIRON]
