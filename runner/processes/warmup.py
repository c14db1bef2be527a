"""Warm-up: serve the configured requests once in the template, through the code that serves real ones.

A warm-up request carries `X-Snapfork-Warm-Up: 1`, so that an app can tell. Whatever its answer is, the
template goes on; a request without an answer within the function's `timeout`, or that streams for longer than
STREAM_SECONDS, is cut off, with a note.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from snapfork.runner.processes.serving import Served

STREAM_SECONDS = 2.0
"""How long a response may go on after its head: an endless stream is warm by then."""

_STANDARD_HEADERS = {
    "host": "localhost",
    "user-agent": "snapfork-warm-up",
    "accept": "*/*",
    "x-snapfork-warm-up": "1",
    "connection": "close",
}


RUNS = 16
"""CPython specialises a function's code after some eight calls."""


@dataclass
class WarmResult:
    """One warm-up request: `status` is None without an answer, `ms` its duration, `note` what went wrong."""

    index: int
    method: str
    path: str
    status: int | None
    ms: float
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class _TooLate(BaseException):
    """Ends a warm-up request that takes too long. Not an Exception: the app's handlers must not eat it."""


class _Streaming(Exception):
    """The response has begun with `status` and does not end."""

    def __init__(self, status: int) -> None:
        self.status = status


def run_in(served: Served, loop: AbstractEventLoop | None) -> None:
    """Serve RUNS requests with the code that serves clients and a stub for the app, which is not called."""
    raw = own_request(served)
    app = served.app
    served.app = stub(served.interface)
    try:
        for _ in range(RUNS):
            _serve(served, raw, STREAM_SECONDS, loop)
    finally:
        served.app = app


def own_request(served: Served) -> bytes:
    """A request that reaches the function, as raw bytes."""
    return build("/", *_mount(served))[2]


def stub(interface: str) -> Any:
    """Stands in for an app."""
    return _wsgi_stub if interface == "wsgi" else _asgi_stub


def _wsgi_stub(_environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


async def _asgi_stub(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def warm(
    served: Served,
    requests: Sequence[str | Mapping[str, Any]],
    loop: AbstractEventLoop | None,
    skip: Sequence[int] = (),
) -> list[WarmResult]:
    """Serve each of `requests` (a path, or method/path/headers/body) but those whose index is in `skip`.

    An ASGI app needs `loop`, the open loop that its start-up ran on. Never raises for what the app does.
    """
    return [
        warm_one(served, index, request, loop) for index, request in enumerate(requests) if index not in skip
    ]


def warm_one(
    served: Served, index: int, request: str | Mapping[str, Any], loop: AbstractEventLoop | None
) -> WarmResult:
    """Serve one warm-up request; see `warm`."""
    prefix, host = _mount(served)
    method, path, raw = build(request, prefix, host)
    limit = float(served.settings["timeout"])
    result = WarmResult(index, method, path, None, 0.0)
    begun = time.monotonic()
    try:
        answer = _serve(served, raw, limit, loop)
    except _Streaming as stream:
        result.status = stream.status
        result.note = f"still streaming {STREAM_SECONDS:g} s after its head; it was cut off"
    except (_TooLate, TimeoutError):
        result.note = f"no answer within {limit:g} s; it was cut off"
    except Exception as error:  # the app's own failure, told to the user; instances may well work
        result.note = f"{type(error).__name__}: {error}"
    else:
        result.status = status_of(answer)
        if result.status is None:
            result.note = "no answer"
    result.ms = round((time.monotonic() - begun) * 1000, 2)
    return result


def raw_answer(served: Served, request: str | Mapping[str, Any], loop: AbstractEventLoop | None) -> bytes:
    """The raw HTTP answer to a warm-up request; b"" without one, or when it does not end."""
    raw = build(request, *_mount(served))[2]
    try:
        return _serve(served, raw, float(served.settings["timeout"]), loop)
    except (_Streaming, _TooLate, TimeoutError):
        return b""
    except Exception:  # the app's own failure, which both sides of a comparison have
        return b""


def ask(served: Served, request: Mapping[str, Any], loop: AbstractEventLoop | None, limit: float) -> bytes:
    """The raw HTTP answer to a request that is no warm-up. Raises TimeoutError after `limit` seconds."""
    raw = build(request, *_mount(served))[2].replace(b"x-snapfork-warm-up: 1\r\n", b"")
    try:
        return _serve(served, raw, limit, loop)
    except _Streaming as stream:
        return b"HTTP/1.1 %d \r\n\r\n" % stream.status
    except _TooLate:
        raise TimeoutError from None


def build(request: str | Mapping[str, Any], prefix: str = "", host: str = "") -> tuple[str, str, bytes]:
    """Method, path and raw HTTP/1.1 bytes of a request to a function mounted at `prefix` of `host`."""
    if isinstance(request, str):
        request = {"path": request}
    method = str(request.get("method") or "GET").upper()
    path = prefix + str(request.get("path") or "/")
    body = request.get("body") or b""
    if isinstance(body, str):
        body = body.encode()
    headers = dict(_STANDARD_HEADERS)
    if host:
        headers["host"] = host
    own = request.get("headers") or {}
    for name, value in own.items() if isinstance(own, Mapping) else own:
        headers[str(name).lower()] = str(value)
    if body or method in ("POST", "PUT", "PATCH"):
        headers["content-length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return method, path, "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + bytes(body)


def status_of(answer: bytes) -> int | None:
    """The status of the final response in raw HTTP bytes, past any 1xx; None if there is none."""
    while answer.startswith(b"HTTP/1."):
        code = answer[9:12]
        if not code.isdigit():
            return None
        if not code.startswith(b"1") or code == b"101":
            return int(code)
        answer = answer.partition(b"\r\n\r\n")[2]
    return None


def _mount(served: Served) -> tuple[str, str]:
    # A function mounted at a prefix or host refuses requests that are not its own, so warm-up paths get both.
    for route in served.routes.routes:
        if route.function == served.function:
            return route.prefix or "", route.host or ""
    return "", ""


def _serve(served: Served, raw: bytes, limit: float, loop: AbstractEventLoop | None) -> bytes:
    if served.interface == "wsgi":
        return _serve_wsgi(served, raw, limit)
    assert loop is not None, "an ASGI app is warmed up on the loop of its start-up"
    # The alarm is for code that blocks the loop, where a timer of the loop cannot help.
    with _alarm(limit + STREAM_SECONDS + 1.0):
        return loop.run_until_complete(_serve_asgi(served, raw, limit))


def _serve_wsgi(served: Served, raw: bytes, limit: float) -> bytes:
    from snapfork.runner.processes import wsgi_loop

    app = served.app
    begun: list[int] = []

    def watched(environ: Any, start_response: Any) -> Any:
        def start(status: str, *rest: Any) -> Any:
            if not begun:
                begun.append(int(status[:3]))
                signal.setitimer(signal.ITIMER_REAL, STREAM_SECONDS, 1.0)
            return start_response(status, *rest)

        return app(environ, start)

    served.app = watched
    try:
        with _alarm(limit):
            return wsgi_loop.private(served, raw)
    except _TooLate:
        if begun:
            raise _Streaming(begun[0]) from None
        raise
    finally:
        served.app = app


async def _serve_asgi(served: Served, raw: bytes, limit: float) -> bytes:
    import asyncio

    from snapfork.runner.processes import asgi_loop

    app = served.app
    begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        async def watch(message: Any) -> None:
            if message["type"] == "http.response.start" and not begun.done():
                begun.set_result(message["status"])
            await send(message)

        await app(scope, receive, watch)

    served.app = watched
    serving = asyncio.ensure_future(asgi_loop.private(served, raw))
    try:
        either: set[asyncio.Future[Any]] = {serving, begun}
        await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({serving}, timeout=STREAM_SECONDS if begun.done() else 0.0)
        if serving.done():
            return serving.result()
        raise _Streaming(begun.result()) if begun.done() else TimeoutError
    finally:
        served.app = app
        if not serving.done():
            serving.cancel()
            await asyncio.wait({serving}, timeout=1.0)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _TooLate in this thread after `seconds`, and each second from then on."""

    def ring(signum: int, frame: FrameType | None) -> None:
        raise _TooLate

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
