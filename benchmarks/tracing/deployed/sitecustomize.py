"""Stamps in the gateway and the services process of a runner that a benchmark starts with this on PYTHONPATH.

BENCH_STAMPS names a file: calls of the functions below are appended to it as "NAME BEGUN ENDED" (ns of
CLOCK_MONOTONIC), some 5 µs each. With BENCH_SERVED requests of the control API are noted, "PATH BEGUN ENDED",
from the bytes of the request, before they are parsed, until those of the answer are with the kernel; they are
kept in memory until /bench/served is asked for. Functions' own processes get neither: nothing of the runner's
environment reaches them.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

STAMPS, SERVED = "BENCH_STAMPS", "BENCH_SERVED"
ASKED = b"/bench/served"
_clock = time.monotonic_ns
_file = -1


def _stamp(name: str, begun: int, ended: int) -> None:
    os.write(_file, f"{name} {begun} {ended}\n".encode())


def _around(owner: Any, attribute: str, name: str | Callable[..., str]) -> None:
    """Stamp each call of a function or method; `name` may be made of the call's arguments."""
    inner = getattr(owner, attribute)

    def named(words: tuple[Any, ...]) -> str:
        return name if isinstance(name, str) else name(*words)

    @functools.wraps(inner)
    def plain(*words: Any, **named_words: Any) -> Any:
        begun = _clock()
        try:
            return inner(*words, **named_words)
        finally:
            _stamp(named(words), begun, _clock())

    @functools.wraps(inner)
    async def waiting(*words: Any, **named_words: Any) -> Any:
        begun = _clock()
        try:
            return await inner(*words, **named_words)
        finally:
            _stamp(named(words), begun, _clock())

    is_async = inner.__code__.co_flags & 0x80  # CO_COROUTINE
    setattr(owner, attribute, waiting if is_async else plain)


def _in_services() -> None:
    from snapfork.runner.faces import auth, native
    from snapfork.runner.registry import core, packages, reconciler
    from snapfork.runner.services import units

    _around(native.NativeFace, "_answer", "native")
    _around(auth.Auth, "close", "verified")
    _around(packages.Packages, "add", "stored")
    _around(packages, "_write", "stored: written and synced")
    _around(packages.Packages, "_unpack", "stored: judged and unpacked")
    _around(packages, "_sync", "stored: renamed and synced")
    _around(core.Core, "commit", "committed")
    _around(units.GatewayUnits, "put", "units told")
    _around(units.GatewayUnits, "routes", "routes told")
    _around(reconciler.Reconciler, "follow", "followed")


def _in_gateway() -> None:
    from snapfork.runner.gateway import function, pool, templates

    _around(function.Function, "build", "ordered")
    _around(templates.Template, "forked", "template forked")
    _around(function.Function, "template_stage", lambda _self, _template, stage: f"stage: {stage['name']}")
    _around(function.Function, "template_early", "can be forked")
    _around(function.Function, "template_ready", "ready")
    _around(pool.Pool, "start", "instance ordered")
    _around(pool.Pool, "forked", "instance forked")


def _requests() -> None:
    """Requests of the control API, as the services process has them."""
    from snapfork.runner.faces import app as faces
    from uvicorn.protocols.http import httptools_impl

    came: dict[int, int] = {}
    served: list[tuple[bytes, int, int]] = []
    protocol = httptools_impl.HttpToolsProtocol
    received = protocol.data_received

    def data_received(self: Any, data: bytes) -> None:
        came.setdefault(id(self), _clock())
        received(self, data)

    protocol.data_received = data_received  # type: ignore[method-assign]
    build = faces.build

    def wrapped(*words: Any, **named: Any) -> Any:
        inner = build(*words, **named)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            # The protocol is the receiver's owner: uvicorn hands out bound methods of its cycle.
            owner = id(receive.__self__.transport.get_protocol())
            if scope["type"] == "http" and scope["path"].encode() == ASKED:
                came.pop(owner, None)
                await _tell(served, send)
                return
            await inner(scope, receive, send)
            if begun := came.pop(owner, 0):
                served.append((scope["path"].encode(), begun, _clock()))

        return app

    faces.build = wrapped


async def _tell(served: list[tuple[bytes, int, int]], send: Any) -> None:
    body = b"".join(b"%b %d %d\n" % one for one in served)
    served.clear()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if "snapfork.runner.services.main" in sys.orig_argv:
    if os.environ.get(SERVED):
        _requests()
    if os.environ.get(STAMPS):
        _file = os.open(os.environ[STAMPS], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _in_services()
elif "serve" in sys.orig_argv and os.environ.get(STAMPS):
    _file = os.open(os.environ[STAMPS], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    _in_gateway()
