"""One table of requests, as raw bytes: the same apps answer the same here, under uvicorn and under gunicorn.

Everything goes through the gateway, as the first request of a connection, as a later one, and byte by byte.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from minigateway import Client
from server import Serve, Server, gunicorn, uvicorn

TESTS = Path(__file__).resolve().parents[1]
APPS, SPECIAL = TESTS / "apps", TESTS / "process"
CONTINUE = "wait for 100 Continue"
END = "end the client's side"
OWN = {"date", "server", "x-request-id", "server-timing", "connection", "keep-alive"}
FRAMING = {"content-length", "transfer-encoding"}
"""How a body is delimited is the server's choice where the app has said nothing."""


@dataclass(frozen=True)
class Row:
    """What a client does: bytes to send, CONTINUE, END. `methods` of the requests in them, in order."""

    name: str
    steps: tuple[bytes | str, ...]
    methods: tuple[str, ...] = ("GET",)


class Answer(NamedTuple):
    """What must be equal. The headers and body of errors are each server's own."""

    interim: list[int]
    status: int
    headers: list[tuple[str, str]]
    body: bytes | dict[str, Any]


def row(name: str, start: str, *headers: str, body: bytes = b"", after: tuple[bytes | str, ...] = ()) -> Row:
    """A row of one request."""
    return Row(name, (request(start, *headers, body=body), *after), (start.split()[0],))


def request(start: str, *headers: str, body: bytes = b"") -> bytes:
    version = "" if start.endswith(" HTTP/1.0") else " HTTP/1.1"
    lines = [start + version, "Host: a.example", *headers]
    if body and not any(one.startswith(("Transfer-", "Content-Length")) for one in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n" + trailers + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"
LARGE = bytes(range(256)) * 1200
UNASKED = ("Expect: 100-continue", "Content-Length: 3")
COMMON = [
    row("get", "GET /echo?a=b&c"),
    row("get 1.0", "GET /echo HTTP/1.0"),
    row("get 1.0 kept alive", "GET / HTTP/1.0", "Connection: keep-alive"),
    row("close", "GET /echo", "Connection: close"),
    row("head", "HEAD /echo"),
    row("head of a stream", "HEAD /stream"),
    row("head 1.0", "HEAD / HTTP/1.0"),
    row("head of nothing", "HEAD /nowhere"),
    row("not found", "GET /nowhere"),
    row("options", "OPTIONS /echo"),
    row("delete", "DELETE /echo"),
    row("webdav", "PROPFIND /echo", "Depth: 1", body=b"<x/>"),
    row("post", "POST /echo", "Content-Type: text/x; charset=y", body=b"abc"),
    row("post 1.0", "POST /echo HTTP/1.0", body=b"abc"),
    row("post nothing", "POST /echo", "Content-Length: 0"),
    row("post without length", "POST /echo"),
    row("post binary", "PUT /echo", body=bytes(range(256))),
    row("post large", "POST /upload", body=LARGE),
    row("post chunked", "POST /echo", CHUNKED, body=chunked(b"hello ", b"there")),
    row("post chunked large", "POST /upload", CHUNKED, body=chunked(LARGE[:70_000], LARGE[70_000:])),
    row("chunk extensions", "POST /echo", CHUNKED, body=b'5;a=b;c="d"\r\nhello\r\n0\r\n\r\n'),
    row("chunked nothing", "POST /echo", CHUNKED, body=chunked()),
    row("expect", "POST /echo", "Expect: 100-continue", "Content-Length: 3", after=(CONTINUE, b"abc")),
    row("expect chunked", "POST /echo", "Expect: 100-continue", CHUNKED, after=(CONTINUE, chunked(b"abc"))),
    row("chunked answer", "GET /stream?count=5"),
    row("answer until the end", "GET /stream?count=5 HTTP/1.0"),
    row("chunked answer, then closed", "GET /stream?count=5", "Connection: close"),
    row("streamed with its length", "GET /download?bytes=300000"),
    row("encoded path", "GET /echo/caf%C3%A9/%2F%20%e9?q=%zz&a=b+c&d=%C3%A9"),
    row("odd path", "GET /echo//x/./../y;p=1,2?&&=?/"),
    row("path to decode once", "GET /echo/%2541"),
    row("absolute target", "GET http://a.example/echo?x"),
    row("long target", "GET /echo?" + "x" * 3000),
    row("repeated header", "GET /echo", "X-A: 1", "X-B: 2", "X-C:", "x-d:   spaced"),
    row("latin-1 header", "GET /echo", "X-A: caf\xe9"),
    row("behind https", "GET /echo", "X-Forwarded-Proto: https"),
    row("body that is not read", "POST /", body=b"x" * 100),
    row("body that is not read, chunked", "POST /", CHUNKED, body=chunked(b"x" * 100)),
    row("half-closed", "GET /echo?x", after=(END,)),
    row("half-closed post", "POST /echo", body=b"abc", after=(END,)),
    Row(
        "pipelined",
        (request("GET /echo?1") + request("POST /echo", body=b"two") + request("GET /stream?count=3"),),
        ("GET", "POST", "GET"),
    ),
    Row(
        "pipelined bodies",
        (
            request("POST /echo", CHUNKED, body=chunked(b"one", b"1"))
            + request("POST /echo", body=b"two")
            + request("POST /echo", CHUNKED, body=chunked(b"three"))
            + request("HEAD /echo")
            + request("GET /echo?5", "Connection: close"),
        ),
        ("POST", "POST", "POST", "HEAD", "GET"),
    ),
]
WSGI = [
    row("one piece", "GET /hello?a"),
    row("pieces, one empty", "GET /two"),
    row("pieces 1.0", "GET /two HTTP/1.0"),
    row("nothing", "GET /empty"),
    row("nothing, streamed", "GET /emptystream"),
    row("write()", "GET /write"),
    row("write() with a length", "GET /writelength"),
    row("more than declared", "GET /more"),
    row("204", "GET /status/204"),
    row("304", "GET /status/304"),
    row("404", "GET /status/404"),
    row("close() of the iterable", "GET /closing"),
    row("file", "GET /file/whole"),
    row("file 1.0", "GET /file/whole HTTP/1.0"),
    row("file, head", "HEAD /file/whole"),
    row("file in memory", "GET /file/memory"),
    row("ways to read", "POST /readers", body=b"ab\ncdefg\nhi\njk\nlm"),
    row("ways to read chunks", "POST /readers", CHUNKED, body=chunked(b"ab\ncde", b"fg\nhi\njk\n", b"lm")),
    row("answers while it reads", "POST /duplex", body=b"abc"),
    row("app fails", "GET /boom"),
    row("large", "GET /big"),
]
ASGI = [
    row("hello", "GET /"),
    row("204", "GET /empty"),
    row("stream", "GET /stream"),
    row("large", "GET /big"),
    row("answered without reading", "POST /early", body=b"x" * 100),
    row("app fails", "GET /crash"),
    row("app says nothing", "GET /no-answer"),
    row("upgrade to what is not here", "GET /", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    row("options of the server", "OPTIONS *"),
]

TEXT = [("content-type", "text/plain")]
# Where a peer does otherwise: gunicorn knows no late start_response, reads "Connection: close" only where it
# stands alone, ignores the app's, and ends an empty file twice; uvicorn leaves a client that has ended its
# side, and answers nothing to a bad header.
ALONE = [
    ("wsgi", row("late start_response", "GET /late"), Answer([], 201, TEXT, b"late"), True),
    (
        "wsgi",
        row("close among others", "GET /two", "Connection: x, Close"),
        Answer([], 200, TEXT, b"onetwo"),
        False,
    ),
    ("wsgi", row("app's own close", "GET /close"), Answer([], 200, [], b"bye"), False),
    ("wsgi", row("empty file", "GET /file/empty"), Answer([], 200, TEXT, b""), True),
    ("wsgi", row("body not asked for", "POST /two", *UNASKED), Answer([], 200, TEXT, b"onetwo"), False),
    ("asgi", row("body not asked for", "POST /", *UNASKED), Answer([], 200, [], b"hello"), False),
    (
        "asgi",
        row("half-closed stream", "GET /stream", after=(END,)),
        Answer([], 200, TEXT, b"one,two,three"),
        False,
    ),
    ("asgi", row("app sends a bad header", "GET /bad-header"), Answer([], 500, [], b""), False),
]


class Pair(NamedTuple):
    """A runner and a peer that serve the same app."""

    ours: Serve
    theirs: Server
    interface: str


def pair(interface: str, directory: Path) -> contextlib.AbstractContextManager[Pair]:
    target = f"{interface}_app:app" if directory is APPS else f"{interface}apps:menu"

    @contextlib.contextmanager
    def both() -> Iterator[Pair]:
        if interface == "wsgi":
            peer = gunicorn(target, directory, "-k", "gthread", "--threads", "4", "--no-control-socket")
        else:
            peer = uvicorn(target, directory, "--lifespan", "off", "--log-level", "info")
        with Serve(target, "--no-access-log", app_dir=directory) as ours, peer as theirs:
            yield Pair(ours, theirs, interface)

    return both()


@pytest.fixture(scope="module", params=["wsgi", "asgi"])
def common(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with pair(request.param, APPS) as both:
        yield both


@pytest.fixture(scope="module")
def wsgi() -> Iterator[Pair]:
    with pair("wsgi", SPECIAL) as both:
        yield both


@pytest.fixture(scope="module")
def asgi() -> Iterator[Pair]:
    with pair("asgi", SPECIAL) as both:
        yield both


def talk(server: Server, one: Row, *, later: bool, dribbled: bool) -> tuple[list[Answer], bool]:
    """(answers to the row, whether the connection went on), having seen that it did or did not."""
    with contextlib.closing(Client(server.raw())) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if later:
            client.send(request("GET /?before"))
            assert client.response()[0] == 200
        interim = perform(client, one, dribbled)
        answers = []
        for method in one.methods:
            status, headers = client.head()
            while status < 200:
                interim.append(status)
                status, headers = client.head()
            body, bounded = body_of(client, method, status, headers)
            answers.append(comparable(interim, status, headers, body))
            interim = []
        goes_on = bounded and headers.get("connection") != "close" and END not in one.steps
        if goes_on and b" HTTP/1.0\r\n" in one.steps[0]:  # type: ignore[operator]
            goes_on = headers.get("connection", "").lower() == "keep-alive"
        if goes_on:
            client.send(request("GET /?after"))
            assert client.response()[0] == 200
        else:
            assert client.everything() == b""
        return answers, goes_on


def perform(client: Client, one: Row, dribbled: bool) -> list[int]:
    interim = []
    for step in one.steps:
        if step == CONTINUE:
            interim.append(client.head()[0])
        elif step == END:
            client.half_close()
        elif isinstance(step, bytes):
            for at in range(len(step) if dribbled else 1):
                client.send(step[at : at + 1] if dribbled else step)
    return interim


def body_of(client: Client, method: str, status: int, headers: dict[str, str]) -> tuple[bytes, bool]:
    """(body, whether its end did not need the end of the connection)"""
    if method == "HEAD" or status in (204, 304):
        return b"", True
    if headers.keys() & FRAMING:
        return client.body(headers), True
    return client.everything(), False


def comparable(interim: list[int], status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status in (400, 500):
        return Answer(interim, status, [], b"")
    kept = sorted((name, value) for name, value in headers.items() if name not in OWN | FRAMING)
    shown: bytes | dict[str, Any] = body
    if body and headers.get("content-type") == "application/json":
        shown = json.loads(body)
    return Answer(interim, status, kept, shown)


def names(table: list[Row]) -> list[str]:
    return [one.name for one in table]


def compare(both: Pair, one: Row) -> None:
    expected = talk(both.theirs, one, later=False, dribbled=False)
    for later in (False, True):
        for dribbled in (False, True):
            if dribbled and sum(len(step) for step in one.steps) > 1000:
                continue
            seen = talk(both.ours, one, later=later, dribbled=dribbled)
            assert seen == expected, f"later={later} dribbled={dribbled}"


@pytest.mark.parametrize("one", COMMON, ids=names(COMMON))
def test_both_kinds_of_apps(common: Pair, one: Row) -> None:
    compare(common, one)


@pytest.mark.parametrize("one", WSGI, ids=names(WSGI))
def test_wsgi(wsgi: Pair, one: Row) -> None:
    compare(wsgi, one)


@pytest.mark.parametrize("one", ASGI, ids=names(ASGI))
def test_asgi(asgi: Pair, one: Row) -> None:
    compare(asgi, one)


@pytest.mark.parametrize(
    ("interface", "one", "answer", "goes_on"), ALONE, ids=names([one[1] for one in ALONE])
)
def test_where_the_peers_do_otherwise(
    interface: str, one: Row, answer: Answer, goes_on: bool, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(interface).ours
    for later in (False, True):
        for dribbled in (False, True):
            assert talk(server, one, later=later, dribbled=dribbled) == ([answer], goes_on)
