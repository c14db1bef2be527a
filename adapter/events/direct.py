"""A web app called with an event: what `handler = serverless(app)` does on Lambda and on FC.

An event that describes a request becomes that request, and the app's answer goes back in the event's shape.
Any other becomes POST /invoke with the payload, and what comes back is the app's body. An ASGI app's lifespan
runs once in the process, before its first event, on the loop that all its events run on.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from snapfork.adapter import calls, interface
from snapfork.adapter.events.asgi import AsgiCaller
from snapfork.adapter.events.requests import INVOKE_PATH, Headers, detect, from_response
from snapfork.adapter.events.wsgi import call_wsgi

_asgi: dict[int, tuple[Any, AsgiCaller]] = {}
_lock = threading.Lock()


class InvocationFailed(Exception):
    """The app answered POST /invoke with the status of an error."""


def answer(app: Any, event: Any, context: Any) -> Any:
    """The app's answer to an event: of Lambda parsed JSON, of FC bytes.

    Raises InvocationFailed, or what the app's lifespan raises at its start.
    """
    shape = detect(event, context)
    if shape is not None:
        scope, body = shape.scope, shape.body
    else:
        body = bytes(event) if isinstance(event, (bytes, bytearray)) else json.dumps(event).encode()
        scope = _invoke_scope(event, context, body)
    status, headers, answered = _call(app, scope, body)
    if shape is not None:
        return from_response(shape, status, headers, answered)
    return _result(status, headers, answered, event)


def _call(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
    plain = calls.plain(app)
    if interface.detect(app) == "wsgi":
        return call_wsgi(plain, scope, body)
    with _lock:
        known = _asgi.get(id(app))
        if known is None:
            known = _asgi[id(app)] = (app, AsgiCaller(plain))  # the app is kept: its id stays its own
    return known[1].call(scope, body)


def _invoke_scope(event: Any, context: Any, body: bytes) -> dict[str, Any]:
    is_json = not isinstance(event, (bytes, bytearray))
    kind = b"application/json" if is_json else b"application/octet-stream"
    name = getattr(context, "aws_request_id", None) or getattr(context, "request_id", None)
    headers = [[b"content-type", kind], [b"content-length", b"%d" % len(body)], [b"host", b"localhost"]]
    if isinstance(name, str) and name.isascii() and name.isprintable():
        headers.append([b"x-request-id", name.encode()])
    return {
        "type": "http",
        "method": "POST",
        "http_version": "1.1",
        "headers": headers,
        "path": INVOKE_PATH,
        "raw_path": INVOKE_PATH.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 0),
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "aws.event": event,
        "aws.context": context,
    }


def _result(status: int, headers: Headers, body: bytes, event: Any) -> Any:
    told = {name.lower(): value for name, value in headers}
    if status >= 400 or told.get(b"x-fc-status") == b"404":
        text = body[:1000].decode("utf-8", "replace")
        raise InvocationFailed(f"the app answered POST {INVOKE_PATH} with status {status}: {text}")
    if isinstance(event, (bytes, bytearray)):
        return body
    if b"json" in told.get(b"content-type", b""):
        try:
            return json.loads(body)
        except ValueError:
            pass  # it only says so
    try:
        return body.decode() if body else None
    except UnicodeDecodeError:
        return body
