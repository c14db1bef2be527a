"""The environ of a WSGI request, as PEP 3333 has it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.serving import Served

_MAX_NAMES = 1024
WARM_UP_HEADER = b"x-snapfork-warm-up"
_names: dict[bytes, str | None] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def variable(name: bytes) -> str | None:
    """The environ key of a lower-case header name; None for what apps do not get.

    That is a name with an underscore, which could pose as another, and by which the runner's parts speak.
    """
    try:
        return _names[name]
    except KeyError:
        key = None if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
        if name.startswith(b"x-snapfork-") and name != WARM_UP_HEADER:
            key = None
        if len(_names) < _MAX_NAMES:
            _names[name] = key
        return key


def base_environ(
    served: Served,
    file_wrapper: Any,
    prefix: str,
    client: tuple[str, int] | None,
    server: tuple[str, int | None],
) -> dict[str, Any]:
    """What all requests of one connection below one mount have in common.

    Over a Unix socket REMOTE_ADDR is "", and SERVER_NAME is left to the Host header.
    """
    return {
        "SCRIPT_NAME": prefix,
        "SERVER_NAME": "" if server[1] is None else server[0],
        "SERVER_PORT": "80" if server[1] is None else str(server[1]),
        "REMOTE_ADDR": client[0] if client else "",
        "REMOTE_PORT": str(client[1]) if client else "",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "SERVER_SOFTWARE": "snapfork",
        "wsgi.version": (1, 0),
        "wsgi.multithread": served.settings["concurrency"] > 1,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": file_wrapper,
    }


def make_environ(
    base: dict[str, Any], served: Served, head: Head, body: Any, request_id: str
) -> dict[str, Any]:
    """The environ of one request; `base` is `base_environ` for its connection and mount."""
    environ = base.copy()
    prefix = base["SCRIPT_NAME"]
    environ["REQUEST_METHOD"] = head.method
    environ["PATH_INFO"] = head.path[len(prefix) :] if prefix else head.path
    environ["QUERY_STRING"] = head.query.decode("latin-1")
    environ["RAW_URI"] = environ["REQUEST_URI"] = head.target.decode("latin-1")
    environ["SERVER_PROTOCOL"] = "HTTP/1.1" if head.version == (1, 1) else "HTTP/1.0"
    if not base["SERVER_NAME"]:
        environ["SERVER_NAME"] = head.host or "localhost"
    environ["wsgi.input"] = body
    environ["snapfork.request_id"] = request_id
    forwarded = False
    for name, value in head.headers:
        key = variable(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{';' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
        if name.startswith(b"x-forwarded"):
            forwarded = True
    if forwarded:
        _believe(environ, served, head)
    return environ


def _believe(environ: dict[str, Any], served: Served, head: Head) -> None:
    host, scheme = served.trusted.client_and_scheme(head.headers, environ["REMOTE_ADDR"] or None)
    if host:
        environ["REMOTE_ADDR"] = host
        environ["REMOTE_PORT"] = "0"
    if scheme:
        environ["wsgi.url_scheme"] = "https" if scheme in ("https", "wss") else "http"
