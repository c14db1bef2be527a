"""WSGI apps for the tests of the loops: one function per behaviour, found by its path."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from snapfork.runner.processes.serving import current_request_id

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], None]]
App = Callable[[Environ, Start], Iterable[bytes]]

FILE_SIZE = 3_000_000
PLAIN = [("Content-Type", "text/plain")]


def menu(environ: Environ, start: Start) -> Iterable[bytes]:
    """Call the function below named like the first segment of the path."""
    name = environ["PATH_INFO"].strip("/").split("/")[0] or "hello"
    chosen: App = globals()[name]
    return chosen(environ, start)


def hello(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"hello " + environ["QUERY_STRING"].encode()]


def describe(environ: Environ, start: Start) -> Iterable[bytes]:
    known = {name: value for name, value in environ.items() if isinstance(value, str | bool | tuple)}
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(known | {"id": current_request_id.get(), "pid": os.getpid()}).encode()]


def echo(environ: Environ, start: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start("200 OK", PLAIN)
    return [body]


def readers(environ: Environ, start: Start) -> Iterable[bytes]:
    """Every way to read: the parts come back joined by |."""
    body = environ["wsgi.input"]
    parts = [body.read(2), body.readline(), body.readline(3), *body.readlines(1)]
    parts += [line for line in body]
    parts += [body.read(), body.read(5), body.readline()]
    start("200 OK", PLAIN)
    return [b"|".join(parts)]


def ignore(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"ignored"]


def duplex(environ: Environ, start: Start) -> Iterator[bytes]:
    """Answers each byte of the body as it comes."""
    start("200 OK", PLAIN)
    yield b"ready"
    while piece := environ["wsgi.input"].read(1):
        yield piece


def late(environ: Environ, start: Start) -> Iterator[bytes]:
    yield b""
    start("201 Created", PLAIN)
    yield b"late"


def two(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return [b"one", b"", b"two"]


def empty(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return []


def emptystream(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", PLAIN)
    yield b""


def write(environ: Environ, start: Start) -> Iterable[bytes]:
    put = start("200 OK", PLAIN)
    put(b"written ")
    return [b"returned"]


def writelength(environ: Environ, start: Start) -> Iterable[bytes]:
    put = start("200 OK", [("Content-Length", "4")])
    put(b"ab")
    put(b"cd")
    return []


def replaced(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("X-First", "1"), ("Content-Length", "99")])
    try:
        raise KeyError("app")
    except KeyError:
        start("503 Sorry", PLAIN, sys.exc_info())
    return [b"sorry"]


def replacedlate(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", PLAIN)
    yield b"begun"
    try:
        raise KeyError("too late")
    except KeyError:
        start("500 Oops", PLAIN, sys.exc_info())
    yield b"never"


def twice(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    start("200 OK", PLAIN)
    return []


def nostart(environ: Environ, start: Start) -> Iterable[bytes]:
    return [b"body"]


def boom(environ: Environ, start: Start) -> Iterable[bytes]:
    raise RuntimeError("boom before the head")


def goodbye(environ: Environ, start: Start) -> Iterable[bytes]:
    sys.exit(3)


def boomlate(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", PLAIN)
    yield b"begun"
    raise RuntimeError("boom after the head")


def boomclose(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return Closing([b"done"], fail=True)


def more(environ: Environ, start: Start) -> Iterator[bytes]:
    start("200 OK", [("Content-Length", "4")])
    yield b"123"
    yield b"456"
    yield b"789"


def fewer(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "4")])
    return [b"12"]


def status(environ: Environ, start: Start) -> Iterable[bytes]:
    start(environ["PATH_INFO"].split("/")[2] + " Chosen", [("Content-Length", "4")])
    return [b"body"]


def hops(environ: Environ, start: Start) -> Iterable[bytes]:
    headers = [("Transfer-Encoding", "chunked"), ("Keep-Alive", "x"), ("Upgrade", "h2c"), ("X-Kept", "1")]
    start("200 OK", headers)
    return [b"ok"]


def close(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", [("Connection", "close")])
    return [b"bye"]


def own(environ: Environ, start: Start) -> Iterable[bytes]:
    headers = [("Server", "mine"), ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("X-Request-Id", "app")]
    start("200 OK", [*headers, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    return [b"ok"]


BAD: dict[str, tuple[Any, list[Any]]] = {
    "newline": ("200 OK", [("X-A", "a\r\nX-B: b")]),
    "name": ("200 OK", [("X A", "a")]),
    "type": ("200 OK", [("X-A", 1)]),
    "bytes": ("200 OK", [("X-A", b"a")]),
    "unicode": ("200 OK", [("X-A", "\u20ac")]),
    "length": ("200 OK", [("Content-Length", "4x")]),
    "lengths": ("200 OK", [("Content-Length", "4"), ("Content-Length", "4")]),
    "status": ("OK", []),
    "statusline": ("200 OK\r\nX-B: b", []),
    "statustype": (200, []),
}


def bad(environ: Environ, start: Start) -> Iterable[bytes]:
    start(*BAD[environ["PATH_INFO"].split("/")[2]])
    return [b"body"]


def text(environ: Environ, start: Start) -> Iterable[Any]:
    start("200 OK", PLAIN)
    return ["not bytes"]


class Closing:
    """An iterable that tells standard error when it is closed."""

    def __init__(self, pieces: Iterable[bytes], fail: bool = False) -> None:
        self.pieces = pieces
        self.fail = fail

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        sys.stderr.write("closed\n")
        if self.fail:
            raise RuntimeError("boom in close")


def closing(environ: Environ, start: Start) -> Iterable[bytes]:
    start("200 OK", PLAIN)
    return Closing([b"a", b"b"])


def endless(environ: Environ, start: Start) -> Iterable[bytes]:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    start("200 OK", PLAIN)
    return Closing(pieces())


def big(environ: Environ, start: Start) -> Iterable[bytes]:
    """More than any socket buffer, in one piece; ?chunked leaves its length out."""
    start("200 OK", PLAIN)
    piece = b"0123456789" * 2_000_000
    return iter([piece]) if environ["QUERY_STRING"] == "chunked" else [piece]


def _file(environ: Environ) -> Any:
    kind = environ["PATH_INFO"].split("/")[2]
    if kind == "memory":
        return io.BytesIO(b"in memory")
    file = tempfile.TemporaryFile()  # noqa: SIM115
    if kind == "zip":
        with gzip.GzipFile(fileobj=file, mode="wb") as writer:
            writer.write(b"unzipped" * 1000)
        file.seek(0)
        return gzip.GzipFile(fileobj=file)
    file.write(b"0123456789" * (FILE_SIZE // 10) if kind != "empty" else b"")
    file.seek(0)
    if kind == "part":
        file.read(7)
    return file


def file(environ: Environ, start: Start) -> Iterable[bytes]:
    headers = list(PLAIN)
    if environ["QUERY_STRING"]:
        headers.append(("Content-Length", environ["QUERY_STRING"]))
    start("200 OK", headers)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](_file(environ), 8192)
    return wrapped


GATE_READ, GATE_WRITE = os.pipe()


def gate(environ: Environ, start: Start) -> Iterable[bytes]:
    """Answers after one byte has been written to GATE_WRITE; says before on standard error that it waits."""
    sys.stderr.write(f"waiting {environ['QUERY_STRING']}\n")
    token = os.read(GATE_READ, 1)
    start("200 OK", PLAIN)
    return [b"passed " + token]


def gatebegun(environ: Environ, start: Start) -> Iterator[bytes]:
    """The same with the head and a piece before."""
    start("200 OK", PLAIN)
    yield b"begun"
    os.read(GATE_READ, 1)
    yield b"passed"
