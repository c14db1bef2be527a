"""One call of a WSGI app with a request that an event described."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Any

from snapfork.adapter.events.requests import Headers

_SERVER_ERROR: tuple[int, Headers, bytes] = (
    500,
    [(b"content-type", b"text/plain; charset=utf-8")],
    b"Internal Server Error",
)


def call_wsgi(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the app's answer; 500, and a traceback in the log, for what it raises."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []
    pieces: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if begun and exc_info is None:
            raise AssertionError("start_response was called a second time without exc_info")
        begun[:] = [(status, list(headers))]
        return pieces.append

    try:
        result = app(environ_of(scope, body), start_response)
        try:
            pieces.extend(result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        status, headers = begun[0]
    except Exception:
        sys.stderr.write(f"Exception in WSGI application\n{traceback.format_exc()}")
        return _SERVER_ERROR
    told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return int(status[:3]), told, b"".join(pieces)


def environ_of(scope: dict[str, Any], body: bytes) -> dict[str, Any]:
    """PEP 3333's environ of a request given as an ASGI scope."""
    server, client = scope.get("server") or ("localhost", 80), scope.get("client") or ("", 0)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": scope["path"].encode("utf-8", "surrogatepass").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": str(client[0] or ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "https"),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    environ |= {name: value for name, value in scope.items() if name.startswith(("aws.", "fc."))}
    for name, value in scope["headers"]:
        if b"_" in name:
            continue  # it could pose as another
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
