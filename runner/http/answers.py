"""Answers of the runner's own, the same from the gateway and from instances."""

from __future__ import annotations

import json
import time
from http import HTTPStatus

from snapfork.runner.http.date import http_date


def request_id_for(boot_id: str, loan_id: int, seq: int) -> str:
    """The id of the request number `seq` of a connection, lent as `loan_id`, in the run `boot_id`.

    A pure function, so that the gateway can name the request of an instance that has died.
    """
    return f"{boot_id}-{loan_id:x}-{seq:x}"


def error_response(
    status: int,
    code: str,
    message: str,
    request_id: str,
    *,
    head: bool = False,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    close: bool = True,
) -> bytes:
    """A whole response with the JSON body {"error": {"code", "message", "request_id"}}.

    `head` leaves the body out (the request was HEAD); `extra` are further header lines.
    """
    error = {"code": code, "message": message, "request_id": request_id}
    body = json.dumps({"error": error}).encode() + b"\n"
    kind = (b"content-type", b"application/json")
    return _response(status, body, request_id, (kind, *extra), close) + (b"" if head else body)


def bare_response(status: int, request_id: str, extra: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """A whole response without a body, after which the connection ends."""
    return _response(status, b"", request_id, extra, close=True)


def _response(
    status: int, body: bytes, request_id: str, extra: tuple[tuple[bytes, bytes], ...], close: bool
) -> bytes:
    lines = [
        b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode()),
        b"date: " + http_date(time.time()),
        b"server: snapfork",
        b"content-length: %d" % len(body),
        b"x-request-id: " + request_id.encode("latin-1", "replace"),
        *(name + b": " + value for name, value in extra),
    ]
    if close:
        lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"
