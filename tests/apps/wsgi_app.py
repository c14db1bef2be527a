"""One WSGI app with every behaviour that the end-to-end tests ask for, by path."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
BLOCK = bytes(range(256)) * 256


def app(environ: Environ, start_response: Start) -> Any:
    query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}
    page = PAGES.get(environ["PATH_INFO"].strip("/").partition("/")[0], missing)
    return page(environ, start_response, query)


def _text(start_response: Start, text: str, status: str = "200 OK", kind: str = "text/plain") -> list[bytes]:
    body = text.encode()
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    return _text(start_response, "hello")


def missing(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    return _text(start_response, "no such page", "404 Not Found")


def pid(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    return _text(start_response, str(os.getpid()))


def echo(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """The request as JSON: method, paths, headers, body (latin-1), scheme and client."""
    shown = {
        "method": environ["REQUEST_METHOD"],
        "script_name": environ["SCRIPT_NAME"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "scheme": environ["wsgi.url_scheme"],
        "client": environ.get("REMOTE_ADDR"),
        "headers": {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or (name in ("CONTENT_TYPE", "CONTENT_LENGTH") and value)
        },
        "body": environ["wsgi.input"].read().decode("latin-1"),
    }
    return _text(start_response, json.dumps(shown), kind="application/json")


def slow(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """Answers its pid after `seconds`."""
    time.sleep(float(query.get("seconds", 1)))
    return _text(start_response, str(os.getpid()))


def held(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """Answers its pid once the file `until` is there."""
    while not os.path.exists(query["until"]):
        time.sleep(0.01)
    return _text(start_response, str(os.getpid()))


def digest(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """As JSON the query and the SHA-1 of the body."""
    body = hashlib.sha1()
    while block := environ["wsgi.input"].read(65536):
        body.update(block)
    shown = {"query": environ["QUERY_STRING"], "body": body.hexdigest()}
    return _text(start_response, json.dumps(shown), kind="application/json")


def pause(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """The same, after two milliseconds."""
    time.sleep(0.002)
    return digest(environ, start_response, query)


def stream(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterator[bytes]:
    """`count` chunks, one every `pause` seconds, without a length."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(int(query.get("count", 3))):
        time.sleep(float(query.get("pause", 0)))
        yield f"chunk {number}\n".encode()


def download(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterator[bytes]:
    """`bytes` bytes, in blocks."""
    left = int(query["bytes"])
    start_response("200 OK", [("Content-Length", str(left))])
    while left:
        block = BLOCK[:left]
        left -= len(block)
        yield block


def upload(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """How many bytes came, and their sum modulo 2**32."""
    count = total = 0
    while block := environ["wsgi.input"].read(65536):
        count += len(block)
        total = (total + sum(block)) % 2**32
    return _text(start_response, json.dumps({"bytes": count, "sum": total}), kind="application/json")


def log(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """Prints `text` to stdout and stderr."""
    print(query["text"])
    print(query["text"], file=sys.stderr)
    return _text(start_response, "printed")


def crash(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    os._exit(7)


def fail(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    raise RuntimeError("on purpose")


def grow(environ: Environ, start_response: Start, query: dict[str, str]) -> list[bytes]:
    """Takes `mb` megabytes, touched, and sleeps `seconds` with them."""
    taken = bytearray(int(query["mb"]) * 2**20)
    time.sleep(float(query.get("seconds", 0)))
    return _text(start_response, str(len(taken)))


def gone(environ: Environ, start_response: Start, query: dict[str, str]) -> Iterator[bytes]:
    """Streams until the client has left, and says so."""
    print("waiting for the client to leave", flush=True)
    start_response("200 OK", [])
    try:
        while True:
            yield BLOCK
    finally:
        print("the client has left", flush=True)


PAGES: dict[str, Callable[..., Any]] = {
    "": hello,
    "pid": pid,
    "echo": echo,
    "slow": slow,
    "held": held,
    "digest": digest,
    "pause": pause,
    "stream": stream,
    "download": download,
    "upload": upload,
    "log": log,
    "crash": crash,
    "fail": fail,
    "grow": grow,
    "gone": gone,
}
