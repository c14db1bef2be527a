"""The head of an HTTP response: checked, completed with the server's own lines, and its framing decided."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head

DATE, SERVER, REQUEST_ID = 1, 2, 4
"""Headers of ours that an app may send itself, as bits."""
UNBOUNDED = -1
"""The end of the connection ends the body."""
_OWN = {b"date": DATE, b"server": SERVER, b"x-request-id": REQUEST_ID}
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")


def _status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


_STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


def render_head(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    own_fields: Callable[[int], bytes],
    request: Head,
    keep_alive: bool,
) -> tuple[bytes, bool, bool, bool, int]:
    """Return (head, keep_alive, silent, chunked, length) of the response to `request`.

    `own_fields` gives the server's lines, less those whose bits it is called with: the app sends them itself.
    `silent`: no body is sent, whatever the app says. `length`: bytes of the body when it is not chunked, or
    UNBOUNDED. Raises RuntimeError for a header that HTTP does not allow, ValueError for a bad Content-Length.
    """
    fields = []
    replaced = 0
    length: int | None = None
    chunked = close = False
    for name, value in headers:
        name = name.lower()
        fields.append(name + b": " + value + b"\r\n")
        if name == b"content-length" and not chunked:
            length = int(value)
        elif name == b"transfer-encoding" and value.lower() == b"chunked":
            chunked = True
            length = None
        elif name == b"connection":
            close = close or b"close" in [token.strip() for token in value.lower().split(b",")]
        elif name in _OWN:
            replaced |= _OWN[name]
    block = b"".join(fields)
    # One expression for all lines; a line break within a value shows in the count.
    if _FIELDS.fullmatch(block) is None or block.count(b"\n") != len(fields):
        raise RuntimeError("Invalid HTTP header name or value.")
    keep_alive = keep_alive and not close
    silent = request.method == "HEAD" or status in (204, 304) or status < 200
    if length is None and not chunked and not silent:
        if request.version == (1, 1):
            chunked = True
            block += b"transfer-encoding: chunked\r\n"
        else:
            length = UNBOUNDED  # an HTTP/1.0 client knows no chunks
    if not keep_alive and not close:
        block += b"connection: close\r\n"
    head = b"".join((_STATUS_LINES[status], own_fields(replaced), block, b"\r\n"))
    return head, keep_alive, silent, chunked, length or 0
