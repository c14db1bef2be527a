"""Warm-up requests: their bytes, and what apps that answer, hang, stream or fail make of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.processes.warmup import build, status_of

DRIVER = """
import importlib, json, os, sys
sys.path.insert(0, sys.argv[1])
from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Routes
from snapfork.runner.processes import warmup
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.serving import Served
from snapfork.runner.wire.page import private_page
import shop
kind, mount = sys.argv[2], json.loads(sys.argv[3])
settings = {"concurrency": 1 if kind == "wsgi" else 32, "timeout": 0.3, "head_size": 65536, "max_body": None,
            "max_requests": None, "drain_timeout": 30.0, "head_timeout": 10.0}
served = Served(shop.app, kind, settings, "shop", Routes([mount | {"function": "shop"}]), Trusted([]),
                AccessLog(None, "off", "shop"), "0123abcd", private_page(), {})
template = None
if kind == "asgi":
    from snapfork.runner.processes.loops import TemplateLoop
    template = TemplateLoop()
results = warmup.warm(served, shop.requests, template and template.loop, getattr(shop, "skip", ()))
print(json.dumps([result.as_dict() for result in results]), flush=True)
os._exit(0)
"""

WSGI = """
import time

def app(environ, start_response):
    assert environ["HTTP_X_SNAPFORK_WARM_UP"] == "1"
    path = environ["PATH_INFO"]
    if path == "/hang":
        time.sleep(30)
    if path == "/broken":
        raise ValueError("no")
    if path == "/post":
        assert environ["wsgi.input"].read() == b"a=1"
    start_response("404 Not Found" if path == "/" else "200 OK", [("Content-Type", "text/plain")])
    if path == "/endless":
        return iter(lambda: b"x" * 1000, None)
    return [b"hello"]
"""

ASGI = """
import asyncio, time

async def app(scope, receive, send):
    assert dict(scope["headers"])[b"x-snapfork-warm-up"] == b"1"
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path == "/hang":
        await asyncio.Event().wait()
    if path == "/block":
        time.sleep(30)
    if path == "/broken":
        raise ValueError("no")
    if path == "/post":
        assert (await receive())["body"] == b"a=1"
    status = 404 if path == "/" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    while path == "/endless":
        await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"hello"})
"""

REQUESTS: list[Any] = [
    "/",
    {"method": "POST", "path": "/post", "headers": {"Content-Type": "x/y"}, "body": "a=1"},
    "/hang",
    "/endless",
    "/broken",
    "/fine",
]
ANYWHERE = {"host": None, "prefix": ""}


def warm(directory: Path, kind: str, source: str, mount: Any = ANYWHERE, **names: Any) -> list[Any]:
    """The results of warming an app with this source and these module-level names."""
    lines = [f"{name} = {value!r}" for name, value in names.items()]
    (directory / "shop.py").write_text(textwrap.dedent(source) + "\n" + "\n".join(lines))
    command = [sys.executable, "-c", DRIVER, str(directory), kind, json.dumps(mount)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    results: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.mark.parametrize(("kind", "source"), [("wsgi", WSGI), ("asgi", ASGI)])
def test_whatever_the_app_does_the_next_request_is_served(tmp_path: Path, kind: str, source: str) -> None:
    results = warm(tmp_path, kind, source, requests=REQUESTS)
    assert [one["index"] for one in results] == list(range(len(REQUESTS)))
    by_path = {one["path"]: one for one in results}
    assert (by_path["/"]["status"], by_path["/post"]["status"], by_path["/fine"]["status"]) == (404, 200, 200)
    assert by_path["/broken"]["status"] in (500, 502)
    assert by_path["/hang"]["status"] in (None, 500, 504)
    assert by_path["/endless"]["status"] == 200 and "still streaming" in by_path["/endless"]["note"]


def test_code_that_blocks_the_loop_is_interrupted(tmp_path: Path) -> None:
    results = warm(tmp_path, "asgi", ASGI, requests=["/block", "/fine"])
    assert results[0]["status"] != 200 and results[1]["status"] == 200


@pytest.mark.parametrize(("kind", "source"), [("wsgi", WSGI), ("asgi", ASGI)])
def test_paths_are_below_the_mount(tmp_path: Path, kind: str, source: str) -> None:
    mount = {"host": "a.example", "prefix": "/blog"}
    results = warm(tmp_path, kind, source, mount, requests=["/fine"])
    assert (results[0]["path"], results[0]["status"]) == ("/blog/fine", 200)


def test_skipped_requests_keep_the_others_index(tmp_path: Path) -> None:
    results = warm(tmp_path, "asgi", ASGI, requests=["/", "/hang", "/fine"], skip=[1])
    assert [(one["index"], one["path"]) for one in results] == [(0, "/"), (2, "/fine")]


def test_bytes_of_a_request() -> None:
    request = {"method": "post", "path": "/x", "headers": {"Host": "h"}, "body": b"ab"}
    method, path, raw = build(request, "/m", "other")
    assert (method, path) == ("POST", "/m/x")
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /m/x HTTP/1.1" and body == b"ab"
    assert b"host: h" in lines and b"content-length: 2" in lines and b"x-snapfork-warm-up: 1" in lines
    assert b"host: localhost" in build("/")[2]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", 404),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101),
        (b"HTTP/1.1 abc\r\n\r\n", None),
        (b"", None),
    ],
)
def test_status_of_an_answer(answer: bytes, status: int | None) -> None:
    assert status_of(answer) == status
