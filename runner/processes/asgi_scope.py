"""A request as an ASGI app sees it: its scope, and the id it is known by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapfork.runner.processes import serving
from snapfork.runner.processes.ledger import invocation_of, is_name

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.asgi_protocol import Connection

ASGI_VERSION = "3.0"
HTTP_SPEC_VERSION = "2.3"
MAX_REQUEST_ID = 128
"""Characters; a longer id of a trusted peer is replaced."""


def describe(conn: Connection, head: Head, root_path: str) -> tuple[dict[str, Any], str]:
    """The HTTP scope of the request and its id.

    `path` holds `root_path` too, as ASGI has it. A trusted peer's headers decide address, scheme and id; of a
    direct request "snapfork.invocation" does.
    """
    served = conn.host.served
    client, scheme, request_id = conn.client, "http", ""
    if conn.trusted:
        for name, _ in head.headers:
            if name.startswith(b"x-"):
                client, scheme, request_id = _told(conn, head)
                break
    raw_path = head.raw_path
    path = head.path
    if b"%" in raw_path or not raw_path.isascii():
        path = path.encode("latin-1").decode("utf-8", "replace")
    scope = {
        "type": "http",
        "asgi": {"version": ASGI_VERSION, "spec_version": HTTP_SPEC_VERSION},
        "http_version": "1.1" if head.version[1] else "1.0",
        "server": conn.server,
        "client": client,
        "scheme": scheme,
        "method": head.method,
        "root_path": root_path,
        "path": path,
        "raw_path": raw_path,
        "query_string": head.query,
        "headers": head.for_app() if head.reserved else head.headers,
        "state": served.state.copy(),
    }
    if conn.loan.direct:
        scope["snapfork.invocation"] = invocation = invocation_of(head)
        if is_name(str(invocation.get("id") or "")):
            request_id = invocation["id"]
    return scope, request_id or serving.request_id(served, conn.loan)


def _told(conn: Connection, head: Head) -> tuple[tuple[str, int] | None, str, str]:
    """Client, scheme and request id as a trusted peer tells them; "" for no id."""
    request_id = ""
    for name, value in head.headers:
        if name == b"x-request-id" and len(value) <= MAX_REQUEST_ID:
            request_id = value.decode("latin-1")
    peer = conn.client[0] if conn.client else None
    host, scheme = conn.host.served.trusted.client_and_scheme(head.headers, peer)
    return (host, 0) if host else conn.client, scheme or "http", request_id
