"""Events that describe HTTP requests, as requests, and the answers back in the shape of the event.

Those of AWS (API Gateway REST and HTTP, ALB, function URLs, Lambda@Edge) are read and answered by Mangum's
event classes, those of FC's HTTP trigger by `fc_http`. What comes in is whatever somebody sent to an API:
what does not make a whole request is none, and is the payload of POST /invoke.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from snapfork.adapter.events.fc_http import TEXT, FcHttp

INVOKE_PATH = "/invoke"
"""Where web functions get what is no request, as FC's do."""
HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one hop or of the framing; a request or answer that is made here has its own."""
OWN = b"x-snapfork-"
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_QUERY = re.compile(rb"[!-~]*")
_PATH_SAFE = "/:@!$&'()*+,;=~-._"
CONFIG: dict[str, Any] = {
    "api_gateway_base_path": "/",
    "text_mime_types": list(TEXT),
    "exclude_headers": [],
}

Headers = list[tuple[bytes, bytes]]


class Request:
    """A request to make: `target` is path and query, encoded; header names are lower-case.

    It has no Content-Length and nothing else of the framing, nothing that could end a line, and no header
    that means something between the parts of the runner.
    """

    __slots__ = ("body", "headers", "method", "target")

    def __init__(self, method: str, target: str, headers: Headers, body: bytes) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body


class Shape:
    """The kind of an event that describes a request, with what an answer to this one depends on.

    name: "apigateway_v1", "apigateway_v2" (function URLs, too), "alb", "cloudfront" or "fc_http".
    """

    __slots__ = ("_event", "_request", "name")

    def __init__(self, name: str, event: Any) -> None:
        self.name = name
        self._event = event
        self._request: Request | None = None

    @property
    def scope(self) -> dict[str, Any]:
        """The request as an ASGI scope, made by the event's class."""
        scope: dict[str, Any] = self._event.scope
        return scope

    @property
    def body(self) -> bytes:
        """The request's body."""
        body: bytes = self._event.body
        return body

    def request(self) -> Request:
        """The request. Raises ValueError, or what a class of Mangum does, for what cannot be one."""
        if self._request is None:
            self._request = self._read()
        return self._request

    def _read(self) -> Request:
        scope = self.scope
        method = str(scope["method"])
        if not _TOKEN.fullmatch(method.encode()):
            raise ValueError("the method is not one")
        target = quote(scope["path"], safe=_PATH_SAFE) or "/"
        query = scope["query_string"]
        if not _QUERY.fullmatch(query):
            query = quote(query, safe=_PATH_SAFE + "?%").encode()
        if not target.startswith("/"):
            target = "/" + target
        if query:
            target += "?" + query.decode("ascii")
        return Request(method, target, _clean(scope["headers"]), self.body)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> dict[str, Any]:
        """An answer to the event's sender."""
        told = [[name, _utf8(value)] for name, value in headers]
        out: dict[str, Any] = self._event({"status": status, "headers": told, "body": body})
        if self.name == "cloudfront":
            _complete_cloudfront(out, told)
        return out


def convert(payload: bytes) -> tuple[Shape | None, Request]:
    """The request that an invocation's payload stands for; the shape is None where it is POST /invoke."""
    try:
        event = json.loads(payload) if payload[:1].isspace() or payload[:1] == b"{" else None
    except (ValueError, RecursionError):
        event = None
    shape = detect(event)
    return shape, _plain(payload) if shape is None else shape.request()


def detect(event: Any, context: Any = None) -> Shape | None:
    """The shape of `event`, parsed or as JSON in bytes, if it describes an HTTP request; else None."""
    if isinstance(event, (bytes, bytearray)):
        return convert(bytes(event))[0]
    if not isinstance(event, dict) or not ("requestContext" in event or "Records" in event):
        return None
    try:
        found = _find(event, context)
        if found is not None:
            found.request()
        return found
    except ImportError:
        raise
    except Exception:  # an event of such a kind that lacks what makes it a request: a class of Mangum trips
        return None


def to_request(event: Any) -> Request:
    """The request that `event`, parsed or in bytes, stands for."""
    if isinstance(event, (bytes, bytearray)):
        return convert(bytes(event))[1]
    shape = detect(event)
    return _plain(json.dumps(event).encode()) if shape is None else shape.request()


def from_response(
    shape: Shape, status: int, headers: Iterable[tuple[Any, Any]], body: bytes
) -> dict[str, Any]:
    """The answer to an event of that shape; header names and values are bytes or text."""
    clean = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
    kept = [one for one in clean if one[0] not in HOP - {b"content-length"} and not one[0].startswith(OWN)]
    return shape.answer(status, kept, body)


def _find(event: dict[str, Any], context: Any) -> Shape | None:
    if FcHttp.infer(event, context, CONFIG):
        return Shape("fc_http", FcHttp(event, context, CONFIG))
    from mangum.handlers import ALB, APIGateway, HTTPGateway, LambdaAtEdge

    for known in (ALB, HTTPGateway, APIGateway, LambdaAtEdge):  # Mangum's own order
        if known.infer(event, context, CONFIG):  # type: ignore[arg-type]
            return Shape(_name(known.__name__, event), known(event, context, CONFIG))  # type: ignore[arg-type]
    return None


def _name(kind: str, event: dict[str, Any]) -> str:
    if kind == "HTTPGateway":
        return "apigateway_v2" if event["version"] == "2.0" else "apigateway_v1"
    return {"ALB": "alb", "APIGateway": "apigateway_v1", "LambdaAtEdge": "cloudfront"}[kind]


def _plain(payload: bytes) -> Request:
    kind = b"application/octet-stream"
    return Request("POST", INVOKE_PATH, [(b"content-type", kind)], payload)


def _clean(headers: Iterable[Iterable[bytes]]) -> Headers:
    kept = []
    for name, value in headers:
        lower = name.lower()
        if not _TOKEN.fullmatch(lower) or _BAD_VALUE.search(value):
            raise ValueError("a header is not one")
        if lower not in HOP and not lower.startswith(OWN):
            kept.append((lower, value.strip(b" \t")))
    return kept


def _complete_cloudfront(out: dict[str, Any], headers: list[list[bytes]]) -> None:
    # Lambda@Edge takes any number of values per header and reads `bodyEncoding`; Mangum keeps the last value.
    values: dict[str, list[dict[str, str]]] = {}
    for raw_name, value in headers:
        name = raw_name.decode().lower()
        values.setdefault(name, []).append({"key": name, "value": value.decode()})
    out["headers"] = values
    out["bodyEncoding"] = "base64" if out["isBase64Encoded"] else "text"


def _bytes(text: Any) -> bytes:
    return bytes(text) if isinstance(text, (bytes, bytearray)) else str(text).encode("utf-8", "replace")


def _utf8(value: bytes) -> bytes:
    """Header values may be any bytes; JSON takes text, which the event classes read as UTF-8."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1").encode()
    return value
